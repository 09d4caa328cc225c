package plan

import "github.com/tollgate-io/tollgate/internal/catalog"

// Stated returns what the provider states of the plan, as it would be entered anew.
func (p *Plan) Stated() Input { return p.input() }

// Pending reports whether the plan states something that its newest version does not say: what the
// next publication would make a version of. A commission that the plan does not state is not compared.
func (p *Plan) Pending() bool {
	if p.Current == nil || p.Card == nil {
		return true
	}
	next := Version{Card: p.Card, Currency: p.Card.Currency, CommissionPPM: p.Current.CommissionPPM, Limits: p.Limits, Hold: p.Hold, Terms: p.Terms, Pin: p.Pin}
	if p.CommissionPPM != nil {
		next.CommissionPPM = *p.CommissionPPM
	}
	return p.State == catalog.Draft || !p.Current.same(&next)
}
