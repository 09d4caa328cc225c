//go:build race

package demo

// race says that the test runs with the race detector: then so does the product.
const race = true
