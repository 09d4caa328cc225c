package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"math/big"

	"github.com/tollgate-io/tollgate/internal/secret"
)

// Form of a key: sk-tg-{inf|mgt}- (10 bytes), 43 base-62 digits of 256 random bits, 6 base-62 digits
// of the CRC-32 (IEEE) of those 43. Secret scanners match it, and a mistyped key is told from an
// unknown one without a lookup.
const (
	kindAt      = len("sk-tg-")
	prefixLen   = len("sk-tg-inf-")
	randomLen   = 43
	checkLen    = 6
	bodyLen     = randomLen + checkLen
	keyLen      = prefixLen + bodyLen
	shownPrefix = prefixLen + 4 // what of a key is stored in clear, beside the last four
	bootPrefix  = "tgboot-"     // of a bootstrap token, the body as in a key
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// isBase62 marks the digits.
var isBase62 = func() (t [256]bool) {
	for i := range len(base62) {
		t[base62[i]] = true
	}
	return t
}()

// generate returns prefix and a new random body.
func generate(prefix string) secret.Text {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	out := make([]byte, len(prefix)+bodyLen)
	copy(out, prefix)
	body := out[len(prefix):]
	n, base, digit := new(big.Int).SetBytes(raw[:]), big.NewInt(62), new(big.Int)
	for i := randomLen - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		body[i] = base62[digit.Int64()]
	}
	check := checksum(body[:randomLen])
	copy(body[randomLen:], check[:])
	return secret.New(string(out))
}

func checksum(random []byte) (out [checkLen]byte) {
	c := crc32.ChecksumIEEE(random)
	for i := checkLen - 1; i >= 0; i-- {
		out[i] = base62[c%62]
		c /= 62
	}
	return out
}

// bodyOK checks digits and checksum.
func bodyOK(body []byte) bool {
	if len(body) != bodyLen {
		return false
	}
	for _, c := range body {
		if !isBase62[c] {
			return false
		}
	}
	return checksum(body[:randomLen]) == [checkLen]byte(body[randomLen:])
}

// ParseKey reports whether a credential has the form of a key, and of which kind. It does not
// allocate and tells nothing about whether the key exists.
func ParseKey(credential []byte) (Kind, bool) {
	if len(credential) != keyLen || string(credential[:kindAt]) != "sk-tg-" || credential[prefixLen-1] != '-' {
		return "", false
	}
	var k Kind
	switch string(credential[kindAt : prefixLen-1]) {
	case string(Inference):
		k = Inference
	case string(Management):
		k = Management
	default:
		return "", false
	}
	if !bodyOK(credential[prefixLen:]) {
		return "", false
	}
	return k, true
}

// hashOf is what is stored of a credential. A plain hash is enough: there are 256 random bits to guess.
func hashOf(credential []byte) [sha256.Size]byte { return sha256.Sum256(credential) }
