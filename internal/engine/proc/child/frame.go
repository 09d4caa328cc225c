// Package child is what Tollgate's child processes with native libraries have in common: the frames that both sides
// exchange, and the child's command line, loop and loaded models. It knows neither what a message says nor what a
// library does; starting and ending a child is package proc's.
//
// A frame is the length of its payload in four bytes, little-endian, and the payload. One request has one answer, in turn.
//
// Invariants: a length that is announced takes no memory; a child that cannot follow its caller says why and ends.
package child

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrTooLarge is the error of a message beyond its bounds.
var ErrTooLarge = errors.New("the message is too large")

// ReadFrame reads the payload of a frame, of at most so many bytes. io.EOF: there is none.
func ReadFrame(r io.Reader, most int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(head[:]))
	if n > most {
		return nil, ErrTooLarge
	}
	payload := make([]byte, 0, min(n, 8<<10)) // grown as it comes
	for len(payload) < n {
		if len(payload) == cap(payload) {
			payload = slices.Grow(payload, min(cap(payload), n-len(payload)))
		}
		m, err := r.Read(payload[len(payload):min(cap(payload), n)])
		payload = payload[:len(payload)+m]
		if err != nil && len(payload) < n {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return payload, nil
}

// Seal makes a frame of b, a payload of at most so many bytes behind four that are free for its length.
func Seal(b []byte, most int) ([]byte, error) {
	if len(b)-4 > most {
		return nil, ErrTooLarge
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	return b, nil
}

// Ask sends a frame to a child and reads its answer. After an error nobody knows in which state the child is.
func Ask[A any](in io.Writer, out io.Reader, frame []byte, most int, parse func([]byte) (A, error)) (answer A, err error) {
	if _, err := in.Write(frame); err != nil {
		return answer, fmt.Errorf("send: %w", err)
	}
	payload, err := ReadFrame(out, most)
	if err != nil {
		return answer, fmt.Errorf("receive: %w", err)
	}
	return parse(payload)
}

// Serve answers requests until in ends. An answer that does not fit a frame becomes a refusal; an error means that this
// cannot go on.
func Serve[Q any, A interface{ Frame() ([]byte, error) }](
	in io.Reader, out io.Writer, most int, parse func([]byte) (Q, error), answer func(Q) A, refuse func(error) A,
) error {
	for {
		payload, err := ReadFrame(in, most)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		q, err := parse(payload)
		if err != nil {
			return err
		}
		frame, err := answer(q).Frame()
		if err != nil {
			if frame, err = refuse(fmt.Errorf("the answer: %w", err)).Frame(); err != nil {
				return err
			}
		}
		if _, err := out.Write(frame); err != nil {
			return err
		}
	}
}
