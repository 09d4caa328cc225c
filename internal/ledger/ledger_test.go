package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/ledger"
)

var (
	ctx  = context.Background()
	sets = []db.Migrations{ledger.Migrations}

	alice    = ledger.Account{Owner: "org_alice", Purpose: ledger.Wallet, Currency: "USD"}
	bob      = ledger.Account{Owner: "org_bob", Purpose: ledger.Wallet, Currency: "USD"}
	carol    = ledger.Account{Owner: "org_carol", Purpose: ledger.Payable, Currency: "USD"}
	gift     = ledger.Account{Owner: "org_platform", Purpose: ledger.Promotion, Currency: "USD"}
	giftEuro = ledger.Account{Owner: "org_platform", Purpose: ledger.Promotion, Currency: "EUR"}
	fees     = ledger.Account{Owner: "org_platform", Purpose: ledger.Commission, Currency: "USD"}
)

func line(a ledger.Account, amount int64) ledger.Posting {
	return ledger.Posting{Account: a, Amount: amount}
}

// post writes a transaction of its own; the cause is unique unless given.
func post(d *db.DB, cause string, lines ...ledger.Posting) (id string, posted bool, err error) {
	if cause == "" {
		cause = db.NewID("tst", time.Now())
	}
	err = d.Update(ctx, func(tx *db.Tx) error {
		id, posted, err = ledger.Post(tx, ledger.Transaction{Kind: "test", Cause: cause, Memo: "memo", Actor: "usr_1", Second: "usr_2", Postings: lines})
		return err
	})
	return id, posted, err
}

func mustPost(t *testing.T, d *db.DB, lines ...ledger.Posting) string {
	t.Helper()
	id, posted, err := post(d, "", lines...)
	if err != nil || !posted {
		t.Fatal(posted, err)
	}
	return id
}

func balance(t *testing.T, d *db.DB, a ledger.Account) (int64, int64) {
	t.Helper()
	v, err := ledger.New(d, clock.System{}).Balance(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return v.Balance, v.Reserved
}

func verify(t *testing.T, d *db.DB) *ledger.Report {
	t.Helper()
	var r *ledger.Report
	err := d.View(ctx, func(tx *db.Tx) (err error) {
		r, err = ledger.Verify(tx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// seal seals all there is.
func seal(t *testing.T, d *db.DB) (n int) {
	t.Helper()
	for {
		k, err := ledger.New(d, clock.System{}).Seal(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n += k; k == 0 {
			return n
		}
	}
}

func TestPost(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		mustPost(t, d, line(alice, 100), line(gift, -100))
		// Lines of an account are netted; one that nets to nothing leaves no posting.
		id := mustPost(t, d, line(alice, -30), line(carol, 25), line(fees, 5), line(alice, -20), line(carol, 20), line(bob, 7), line(bob, -7))
		for _, want := range []struct {
			a       ledger.Account
			balance int64
		}{{alice, 50}, {bob, 0}, {carol, 45}, {fees, 5}, {gift, -100}} {
			if got, _ := balance(t, d, want.a); got != want.balance {
				t.Errorf("%v has %d, want %d", want.a, got, want.balance)
			}
		}
		entries, more, err := ledger.New(d, clock.System{}).Transactions(ctx, "", "", 1)
		if err != nil || !more || len(entries) != 1 {
			t.Fatal(entries, more, err)
		}
		e := entries[0]
		if e.ID != id || e.Kind != "test" || e.Memo != "memo" || e.Actor != "usr_1" || e.Second != "usr_2" || e.Seq != 0 || len(e.Lines) != 3 {
			t.Errorf("entry %+v", e)
		}
		if r := verify(t, d); len(r.Faults) > 0 || r.Transactions != 2 || r.Postings != 5 || r.Accounts != 5 {
			t.Errorf("%+v", r)
		}
	})
}

func TestPostRefuses(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		mustPost(t, d, line(alice, 100), line(gift, -100))
		for name, c := range map[string]struct {
			lines []ledger.Posting
			funds bool
		}{
			"unbalanced":           {lines: []ledger.Posting{line(alice, 1)}},
			"balanced by currency": {lines: []ledger.Posting{line(alice, 1), line(giftEuro, -1)}},
			"below zero":           {lines: []ledger.Posting{line(alice, -101), line(carol, 101)}, funds: true},
			"new and below zero":   {lines: []ledger.Posting{line(bob, -1), line(carol, 1)}, funds: true},
			"release of nothing":   {lines: []ledger.Posting{{Account: alice, Amount: -1, Release: 1}, line(carol, 1)}, funds: true},
			"overflow of a sum":    {lines: []ledger.Posting{line(carol, math.MaxInt64), line(carol, 1), line(gift, -1), line(gift, math.MinInt64+1)}},
			"overflow of balance":  {lines: []ledger.Posting{line(alice, math.MaxInt64), line(gift, -math.MaxInt64)}},
			"too large":            {lines: []ledger.Posting{line(bob, 4e18+1), line(gift, -4e18-1)}},
			"no such purpose":      {lines: []ledger.Posting{line(ledger.Account{Owner: "o", Purpose: "hoard", Currency: "USD"}, 0)}},
			"no owner":             {lines: []ledger.Posting{line(ledger.Account{Purpose: ledger.Wallet, Currency: "USD"}, 0)}},
		} {
			_, _, err := post(d, "", c.lines...)
			if err == nil || errors.Is(err, ledger.ErrFunds) != c.funds {
				t.Errorf("%s: %v", name, err)
			}
		}
		if r := verify(t, d); len(r.Faults) > 0 || r.Transactions != 1 || r.Postings != 2 || r.Accounts != 2 {
			t.Errorf("a refused transaction left something: %+v", r)
		}
		if got, _ := balance(t, d, alice); got != 100 {
			t.Errorf("balance %d", got)
		}
	})
}

// TestSameCause: a cause posts once, however often and by however many at once it is tried.
func TestSameCause(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		ids, fresh := make([]string, 8), make([]bool, 8)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				var err error
				if ids[i], fresh[i], err = post(d, "once", line(alice, 10), line(gift, -10)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		n := 0
		for i, id := range ids {
			if id != ids[0] {
				t.Errorf("ids %v", ids)
			}
			if fresh[i] {
				n++
			}
		}
		if got, _ := balance(t, d, alice); got != 10 || n != 1 {
			t.Errorf("balance %d, posted %d times", got, n)
		}
	})
}

func TestReserve(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		reserve := func(a ledger.Account, need, want int64) (n int64, err error) {
			err = d.Update(ctx, func(tx *db.Tx) error {
				n, err = ledger.ReserveFunds(tx, a, need, want)
				return err
			})
			return n, err
		}
		if _, err := reserve(alice, 1, 1); !errors.Is(err, ledger.ErrFunds) {
			t.Errorf("of no account: %v", err)
		}
		mustPost(t, d, line(alice, 100), line(gift, -100))
		for _, c := range []struct{ need, want, got int64 }{
			{1, 10, 10}, // what is wanted
			{91, 95, 0}, // 90 are left
			{70, 60, 70},
			{1, 80, 20}, // what there is
			{1, 1, 0},
		} {
			got, err := reserve(alice, c.need, c.want)
			if got != c.got || errors.Is(err, ledger.ErrFunds) != (c.got == 0) {
				t.Errorf("%+v: %d %v", c, got, err)
			}
		}
		if b, r := balance(t, d, alice); b != 100 || r != 100 {
			t.Errorf("balance %d, reserved %d", b, r)
		}
		if _, _, err := post(d, "", line(alice, -1), line(carol, 1)); !errors.Is(err, ledger.ErrFunds) {
			t.Errorf("reserved money was spent: %v", err)
		}
		mustPost(t, d, ledger.Posting{Account: alice, Amount: -30, Release: 40}, line(carol, 30))
		if b, r := balance(t, d, alice); b != 70 || r != 60 {
			t.Errorf("balance %d, reserved %d", b, r)
		}
		unreserve := func(n int64) error {
			return d.Update(ctx, func(tx *db.Tx) error { return ledger.Unreserve(tx, alice, n) })
		}
		if err := unreserve(61); err == nil {
			t.Error("more was given back than is reserved")
		}
		if err := unreserve(60); err != nil {
			t.Error(err)
		}
		if b, r := balance(t, d, alice); b != 70 || r != 0 {
			t.Errorf("balance %d, reserved %d", b, r)
		}
	})
}

// TestReserveConcurrent: however many reserve at once, no more than the balance is given out.
func TestReserveConcurrent(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		mustPost(t, d, line(alice, 100), line(gift, -100))
		var wg sync.WaitGroup
		var mu sync.Mutex
		total := int64(0)
		for range 16 {
			wg.Go(func() {
				for range 5 {
					var n int64
					err := d.Update(ctx, func(tx *db.Tx) (err error) {
						n, err = ledger.ReserveFunds(tx, alice, 3, 3)
						return err
					})
					if err != nil && !errors.Is(err, ledger.ErrFunds) {
						t.Error(err)
					}
					if err == nil {
						mu.Lock()
						total += n
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		if _, r := balance(t, d, alice); r != 99 || total != 99 {
			t.Errorf("%d reserved, %d given out", r, total)
		}
	})
}

// TestSeal: the chain takes every transaction once, and folds the hot accounts without changing what they hold.
func TestSeal(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		if n := seal(t, d); n != 0 {
			t.Errorf("sealed %d of nothing", n)
		}
		const many = 450 // more than two of Seal's turns
		for i := range many {
			mustPost(t, d, line(alice, 2), line(gift, -3), line(carol, 1))
			if i == many/2 {
				seal(t, d)
			}
		}
		before, _ := balance(t, d, carol)
		if r := verify(t, d); len(r.Faults) > 0 || r.Sealed != many/2+1 {
			t.Errorf("half sealed: %+v", r)
		}
		if n := seal(t, d); n != many-many/2-1 {
			t.Errorf("sealed %d", n)
		}
		if after, _ := balance(t, d, carol); before != many || after != many {
			t.Errorf("balance %d, then %d", before, after)
		}
		if got, _ := balance(t, d, gift); got != -3*many {
			t.Errorf("balance %d", got)
		}
		r := verify(t, d)
		if len(r.Faults) > 0 || r.Sealed != many || len(r.Head) != 64 {
			t.Errorf("all sealed: %+v", r)
		}
	})
}

// TestSealTwice: two leaders at once seal each transaction once.
func TestSealTwice(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		for range 100 {
			mustPost(t, d, line(alice, 2), line(gift, -2))
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				_, _ = ledger.New(d, clock.System{}).Seal(ctx) // all but one are refused, or find nothing
			})
		}
		wg.Wait()
		seal(t, d)
		if r := verify(t, d); len(r.Faults) > 0 || r.Sealed != 100 {
			t.Errorf("%+v", r)
		}
	})
}

// TestConcurrentPosts: transactions that touch the same accounts in every order neither deadlock nor lose anything.
func TestConcurrentPosts(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		accounts := make([]ledger.Account, 6)
		for i := range accounts {
			accounts[i] = ledger.Account{Owner: fmt.Sprint("org_", i), Purpose: ledger.Wallet, Currency: "USD"}
			mustPost(t, d, line(accounts[i], 1000), line(gift, -1000))
		}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 20 {
					a, b := accounts[(g+i)%6], accounts[(g*5+i*3+1)%6]
					if _, _, err := post(d, "", line(a, -3), line(b, 2), line(fees, 1)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		total := int64(0)
		for _, a := range accounts {
			b, _ := balance(t, d, a)
			total += b
		}
		if f, _ := balance(t, d, fees); f != 160 || total != 6000-160 {
			t.Errorf("fees %d, wallets %d", f, total)
		}
		if r := verify(t, d); len(r.Faults) > 0 {
			t.Error(r.Faults)
		}
	})
}

func TestLists(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		s := ledger.New(d, clock.System{})
		var ids []string
		for range 5 {
			ids = append(ids, mustPost(t, d, line(alice, 2), line(gift, -3), line(carol, 1)))
		}
		ids = append(ids, mustPost(t, d, line(bob, 1), line(gift, -1)))
		var got []string
		for before := ""; ; {
			list, more, err := s.Transactions(ctx, "", before, 4)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				got = append([]string{e.ID}, got...)
			}
			if !more {
				break
			}
			before = list[len(list)-1].ID
		}
		if diff := cmp.Diff(sorted(ids), sorted(got)); diff != "" {
			t.Error(diff)
		}
		list, more, err := s.Transactions(ctx, alice.Owner, "", 10)
		if err != nil || more || len(list) != 5 {
			t.Fatal(len(list), more, err)
		}
		if diff := cmp.Diff([]ledger.EntryLine{{AccountID: alice.ID(), Account: alice, Amount: 2}}, list[0].Lines); diff != "" {
			t.Errorf("an owner sees other lines than its own: %s", diff)
		}
		accounts, more, err := s.Accounts(ctx, "", "", 3)
		if err != nil || !more || len(accounts) != 3 {
			t.Fatal(accounts, more, err)
		}
		rest, more, err := s.Accounts(ctx, "", accounts[2].ID, 3)
		if err != nil || more || len(rest) != 1 {
			t.Fatal(rest, more, err)
		}
		own, _, err := s.Accounts(ctx, carol.Owner, "", 3)
		if diff := cmp.Diff([]ledger.AccountView{{ID: carol.ID(), Account: carol, Balance: 5}}, own); diff != "" || err != nil {
			t.Error(diff, err)
		}
	})
}

func sorted(list []string) map[string]int {
	m := map[string]int{}
	for _, s := range list {
		m[s]++
	}
	return m
}
