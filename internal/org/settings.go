package org

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// The operator's settings, by name.
const (
	SettingAutoSubscribe = "auto_subscribe"         // JSON boolean, default true
	SettingCommission    = "default_commission_ppm" // JSON integer from 0 to 1,000,000, default 100,000 (10 %)
	SettingSignUp        = "signup"                 // SignUpPolicy, default off
)

// Setting is one of the operator's settings. Version is 0 while it has its default.
type Setting struct {
	Name    string          `json:"name"`
	Value   json.RawMessage `json:"value"`
	Updated time.Time       `json:"-"`
	Version int64           `json:"-"`
}

// SignUpPolicy says who may sign up by themselves and what they are granted. A limit of 0 means none.
type SignUpPolicy struct {
	Enabled       bool     `json:"enabled"`
	Credit        string   `json:"credit"`   // decimal with up to nine places; "0" grants none
	Currency      string   `json:"currency"` // of the credit
	PerIPPerDay   int64    `json:"per_ip_per_day"`
	PerDomain     int64    `json:"per_email_domain_per_day"`
	PerDay        int64    `json:"per_day"`
	PublicDomains []string `json:"public_domains"` // mail services for everyone, which PerDomain does not concern
}

// setting is how a setting is read and what it is where nobody set it.
type setting struct {
	normal   string
	validate func([]byte) error
}

func settings() map[string]setting {
	return map[string]setting{
		SettingAutoSubscribe: {"true", func(b []byte) error { var v bool; return strict(b, &v) }},
		SettingCommission: {"100000", func(b []byte) error {
			var v int64
			if err := strict(b, &v); err != nil {
				return err
			}
			if v < 0 || v > 1_000_000 {
				return problem.New(problem.Unprocessable, "org.commission", "the default commission must be from 0 to 1000000 parts per million")
			}
			return nil
		}},
		SettingSignUp: {`{"enabled":false,"credit":"0","currency":"USD","per_ip_per_day":3,"per_email_domain_per_day":20,` +
			`"per_day":1000,"public_domains":["gmail.com","outlook.com","hotmail.com","qq.com","163.com","126.com","icloud.com","proton.me"]}`,
			func(b []byte) error {
				var p SignUpPolicy
				if err := strict(b, &p); err != nil {
					return err
				}
				return p.check()
			}},
	}
}

var (
	decimalShape  = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?$`)
	currencyShape = regexp.MustCompile(`^[A-Z]{3}$`)
)

func (p SignUpPolicy) check() error {
	if !decimalShape.MatchString(p.Credit) || !currencyShape.MatchString(p.Currency) {
		return problem.New(problem.Unprocessable, "org.signup_credit", "credit must be a decimal like \"5.00\" and currency a code like \"USD\"")
	}
	if p.PerIPPerDay < 0 || p.PerDomain < 0 || p.PerDay < 0 {
		return problem.New(problem.Unprocessable, "org.signup_limit", "limits cannot be negative; 0 means no limit")
	}
	return nil
}

// strict decodes one JSON value without unknown fields.
func strict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("more than one value")
	}
	return problem.New(problem.Unprocessable, "org.setting_value", "the value does not fit this setting: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// ListSettings returns all settings by name, those never set with their defaults.
func (s *Store) ListSettings(ctx context.Context) ([]Setting, error) {
	var out []Setting
	err := s.db.View(ctx, func(tx *db.Tx) error {
		out = nil
		for name := range settings() {
			st, err := GetSettingTx(tx, name)
			if err != nil {
				return err
			}
			out = append(out, st)
		}
		slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
		return nil
	})
	return out, err
}

// GetSetting returns a setting.
func (s *Store) GetSetting(ctx context.Context, name string) (st Setting, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error { st, err = GetSettingTx(tx, name); return err })
	return st, err
}

// GetSettingTx is [Store.GetSetting] within tx.
func GetSettingTx(tx *db.Tx, name string) (Setting, error) {
	def, ok := settings()[name]
	if !ok {
		return Setting{}, problem.New(problem.NotFound, "org.setting_unknown", "there is no setting %q", clip(name))
	}
	st := Setting{Name: name}
	var value string
	var updated int64
	err := tx.QueryRow(`SELECT value, updated_at, version FROM org_setting WHERE name = $1`, name).Scan(&value, &updated, &st.Version)
	if errors.Is(err, db.ErrNoRows) {
		st.Value = json.RawMessage(def.normal)
		return st, nil
	}
	st.Value, st.Updated = json.RawMessage(value), db.Time(updated)
	return st, err
}

// PutSetting sets a setting. Version 0 is unconditional, as everywhere.
func (s *Store) PutSetting(ctx context.Context, by audit.Actor, name string, value json.RawMessage, version int64) (st Setting, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error { st, err = PutSettingTx(tx, by, name, value, version); return err })
	return st, err
}

// PutSettingTx is [Store.PutSetting] within tx.
func PutSettingTx(tx *db.Tx, by audit.Actor, name string, value json.RawMessage, version int64) (Setting, error) {
	before, err := GetSettingTx(tx, name)
	if err != nil {
		return Setting{}, err
	}
	if err := checkVersion(version, before.Version); err != nil {
		return Setting{}, err
	}
	if err := settings()[name].validate(value); err != nil {
		return Setting{}, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, value); err != nil {
		return Setting{}, err
	}
	st := Setting{Name: name, Value: compact.Bytes(), Updated: tx.Now(), Version: before.Version + 1}
	n, err := tx.Exec(`INSERT INTO org_setting (name, value, updated_at, version) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at, version = excluded.version
		WHERE org_setting.version = $5`, name, string(st.Value), db.Micros(st.Updated), st.Version, before.Version)
	if err != nil {
		return Setting{}, err
	}
	if n == 0 {
		return Setting{}, checkVersion(before.Version+1, before.Version+2)
	}
	return st, audit.Record(tx, audit.Entry{Actor: by, Action: "settings.write", Object: name, Before: before, After: st})
}

// AutoSubscribeTx tells whether the first call to a public pay-per-use plan subscribes to it.
func AutoSubscribeTx(tx *db.Tx) (bool, error) {
	st, err := GetSettingTx(tx, SettingAutoSubscribe)
	if err != nil {
		return false, err
	}
	return string(st.Value) == "true", nil
}

// DefaultCommissionTx returns the platform's part of each charge, in millionths, of a plan that states none.
func DefaultCommissionTx(tx *db.Tx) (ppm int64, err error) {
	st, err := GetSettingTx(tx, SettingCommission)
	if err == nil {
		err = json.Unmarshal(st.Value, &ppm)
	}
	return ppm, err
}

// SignUpPolicyTx returns the policy for sign-ups.
func SignUpPolicyTx(tx *db.Tx) (SignUpPolicy, error) {
	var p SignUpPolicy
	st, err := GetSettingTx(tx, SettingSignUp)
	if err == nil {
		err = json.Unmarshal(st.Value, &p)
	}
	return p, err
}

// NoteTx returns a value that the platform keeps for itself beside the settings, such as the check
// of the sealer's key; "" if there is none. Notes are not part of the management API.
func NoteTx(tx *db.Tx, name string) (string, error) {
	var v string
	err := tx.QueryRow(`SELECT value FROM org_note WHERE name = $1`, name).Scan(&v)
	return v, found(err, nil)
}

// SetNoteTx sets such a value.
func SetNoteTx(tx *db.Tx, name, value string) error {
	_, err := tx.Exec(`INSERT INTO org_note (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
