//go:build race

package egress

// raceEnabled: the race detector allocates.
const raceEnabled = true
