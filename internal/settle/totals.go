package settle

// Totals are what a Bank holds at a moment, for metrics.
type Totals struct {
	Open   int64            // holds of running calls
	Wallet map[string]int64 // credit of wallets that no call holds, in nano-units, by currency
}

// Totals adds up all purses. It takes each one's lock for an instant.
func (b *Bank) Totals() Totals {
	t := Totals{Wallet: map[string]int64{}}
	for _, p := range b.all() {
		p.mu.Lock()
		t.Open += int64(p.wallet.open) // every hold takes from the wallet
		t.Wallet[p.currency] += p.wallet.granted - p.wallet.used
		p.mu.Unlock()
	}
	return t
}
