package job

import (
	"embed"
	"errors"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "job", FS: files}

// ErrLost: the lease has another holder, or a later epoch.
var ErrLost = errors.New("job: the lease is lost")

// Lease is the right of one holder to do something alone until a time. Its epoch rises with every
// change of holder and every lapse, and so tells a holder that was asleep from its successor.
type Lease struct {
	Name   string
	Holder string
	Epoch  int64
	Until  time.Time
}

// Acquire takes the lease called name for holder, or prolongs it if the holder has it, to ttl from
// now. It returns false if another holder has it.
//
// Time is that of the nodes' clocks. If they differ by more than the lease lasts, two may hold it
// at once by their own clocks; [Lease.Check] still lets one alone write.
func Acquire(tx *db.Tx, name, holder string, ttl time.Duration) (Lease, bool, error) {
	now := tx.Now()
	l := Lease{Name: name, Holder: holder, Until: now.Add(ttl)}
	err := tx.QueryRow(`INSERT INTO job_lease (name, holder, epoch, until) VALUES ($1, $2, 1, $3)
		ON CONFLICT (name) DO UPDATE SET
			epoch = CASE WHEN job_lease.holder = excluded.holder AND job_lease.until > $4
				THEN job_lease.epoch ELSE job_lease.epoch + 1 END,
			holder = excluded.holder, until = excluded.until
		WHERE job_lease.holder = excluded.holder OR job_lease.until <= $4
		RETURNING epoch`, name, holder, db.Micros(l.Until), db.Micros(now)).Scan(&l.Epoch)
	if errors.Is(err, db.ErrNoRows) {
		return Lease{}, false, nil
	}
	return l, err == nil, err
}

// Check returns [ErrLost] unless the lease is still the holder's. Nobody can take it over before
// the transaction has ended, so that what the transaction writes is written by the holder alone.
func (l Lease) Check(tx *db.Tx) error {
	var one int
	err := tx.QueryRow(`SELECT 1 FROM job_lease WHERE name = $1 AND holder = $2 AND epoch = $3`+tx.Dialect().ForShare(),
		l.Name, l.Holder, l.Epoch).Scan(&one)
	if errors.Is(err, db.ErrNoRows) {
		return ErrLost
	}
	return err
}

// Release gives the lease up, so that another need not wait for its end. Releasing a lease that is
// lost does nothing.
func (l Lease) Release(tx *db.Tx) error {
	_, err := tx.Exec(`UPDATE job_lease SET until = $1 WHERE name = $2 AND holder = $3 AND epoch = $4`,
		db.Micros(tx.Now()), l.Name, l.Holder, l.Epoch)
	return err
}
