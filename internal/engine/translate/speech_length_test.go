package translate

import (
	"encoding/binary"
	"testing"
)

// TestSoundLengthBelievesNoOne has a WAV header lie about what a decoder does not look at.
func TestSoundLengthBelievesNoOne(t *testing.T) {
	wav := func(byteRate, size uint32) []byte {
		b := append([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"), 0x80, 0x3e, 0, 0) // mono, 16 kHz
		b = binary.LittleEndian.AppendUint32(b, byteRate)
		b = append(b, 2, 0, 16, 0)
		b = binary.LittleEndian.AppendUint32(append(b, "data"...), size)
		return append(b, make([]byte, 32_000)...)
	}
	for name, b := range map[string][]byte{"plain": wav(32_000, 32_000), "byte rate": wav(1<<31, 32_000), "size": wav(32_000, 2), "no size": wav(32_000, 0xffffffff)} {
		if ms := soundLength(b); ms != 1000 {
			t.Errorf("%s: %d ms", name, ms)
		}
	}
}
