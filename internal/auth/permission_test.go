package auth

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/org"
)

var update = flag.Bool("update", false, "write the golden files anew")

func principal(parts org.Parts, role org.Role) *Principal {
	p := &Principal{OrgID: "org_own", Kind: Management, Role: role, org: &orgState{}}
	p.org.parts.Store(uint32(parts))
	return p
}

// TestPermissions writes out who can do what: every action, part and role, on the own organisation,
// another one and the platform.
func TestPermissions(t *testing.T) {
	var out bytes.Buffer
	out.WriteString("# o owner, a admin, d developer, b billing, v viewer; columns: part of the acting organisation,\n" +
		"# on its own (own), on another (any), on the platform (all)\n")
	parts := []org.Parts{org.Consumer, org.Provider, org.Partner, org.Operator, org.Regulator}
	fmt.Fprintf(&out, "%-22s", "")
	for _, p := range parts {
		for _, where := range []string{"own", "any", "all"} {
			fmt.Fprintf(&out, " %-13s", p.Names()[0]+"/"+where)
		}
	}
	for _, a := range Actions() {
		fmt.Fprintf(&out, "\n%-22s", a)
		for _, part := range parts {
			for _, on := range []string{"org_own", "org_other", ""} {
				cell := ""
				for _, r := range org.Roles() {
					c := "."
					if Can(principal(part, r), a, on) {
						c = string(r[0])
					}
					cell += c
				}
				fmt.Fprintf(&out, " %-13s", cell)
			}
		}
	}
	var got bytes.Buffer
	for line := range strings.Lines(out.String()) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	const golden = "testdata/permissions.golden"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Fatalf("permissions changed (go test -update to accept):\n%s", diff)
	}
}

func TestPermissionInvariants(t *testing.T) {
	for _, a := range Actions() {
		inf := principal(org.Operator|org.Provider, org.Owner)
		inf.Kind = Inference
		nobody := principal(org.Operator|org.Provider, "")
		for _, on := range []string{"", "org_own", "org_other"} {
			if Can(inf, a, on) {
				t.Errorf("an inference key may %s", a)
			}
			if Can(nobody, a, on) {
				t.Errorf("no role may %s", a)
			}
			if on != "org_own" && Can(principal(org.Consumer|org.Provider|org.Partner, org.Owner), a, on) {
				t.Errorf("an ordinary owner may %s on %q", a, on)
			}
		}
		// A role that covers another may do all that the other may.
		for _, hi := range org.Roles() {
			for _, lo := range org.Roles() {
				for _, part := range []org.Parts{org.Consumer, org.Provider, org.Operator, org.Regulator} {
					for _, on := range []string{"", "org_own", "org_other"} {
						if Covers(hi, lo) && Can(principal(part, lo), a, on) && !Can(principal(part, hi), a, on) {
							t.Errorf("%s: %s may, %s that covers it may not (%v on %q)", a, lo, hi, part.Names(), on)
						}
					}
				}
			}
		}
	}
	if Can(principal(org.Operator, org.Owner), "no.such", "") {
		t.Error("an unknown action is permitted")
	}
	wantID(t, Permit(principal(org.Consumer, org.Viewer), "key.create", "org_own"), "auth.forbidden")
	wantID(t, Permit(&Principal{Kind: Inference}, "key.create", "org_own"), "auth.not_management")
	if err := Permit(principal(org.Consumer, org.Owner), "key.create", "org_own"); err != nil {
		t.Error(err)
	}
}

func TestPermitRole(t *testing.T) {
	wantID(t, PermitRole(principal(org.Consumer, org.Admin), org.Owner, "org_own"), "auth.role_beyond")
	wantID(t, PermitRole(principal(org.Consumer, org.Owner), org.Viewer, "org_other"), "auth.role_beyond")
	wantID(t, PermitRole(principal(org.Operator, org.Admin), org.Owner, "org_own"), "auth.role_beyond")
	wantID(t, PermitRole(principal(org.Operator, org.Billing), org.Viewer, "org_other"), "auth.role_beyond")
	wantID(t, PermitRole(principal(org.Consumer, org.Billing), org.Developer, "org_own"), "auth.role_beyond")
	for _, err := range []error{
		PermitRole(principal(org.Consumer, org.Owner), org.Owner, "org_own"),
		PermitRole(principal(org.Consumer, org.Developer), org.Viewer, "org_own"),
		PermitRole(principal(org.Operator, org.Admin), org.Owner, "org_other"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
}
