package llm

import "testing"

func TestClasses(t *testing.T) {
	u := Usage{1, 2, 3, 4, 5, 6, 7, true, false}
	c := u.Classes()
	want := [Classes]int64{Input: 1, CachedInput: 2, CacheWrite: 3, Output: 4, Reasoning: 5, AudioInput: 6, AudioOutput: 7, Requests: 1}
	if c != want || u.InputTotal() != 12 || u.OutputTotal() != 16 {
		t.Errorf("%v %d %d", c, u.InputTotal(), u.OutputTotal())
	}
}

func TestDeliveredFigures(t *testing.T) {
	tests := []struct {
		name            string
		d               Delivered
		estimate, floor int64
	}{
		{"nothing", Delivered{}, 0, 0},
		{"choices without text", Delivered{Choices: 5}, 1, 0},
		{"a letter", Delivered{Bytes: 1, Chunks: 1, Choices: 1}, 1, 0},
		{"a token a chunk", Delivered{Bytes: 450, Chunks: 100}, 100, 75},
		{"long tokens", Delivered{Bytes: 700, Chunks: 100}, 100, 100},
		{"letter by letter", Delivered{Bytes: 450, Chunks: 450}, 113, 75},
		{"paragraphs", Delivered{Bytes: 45000, Chunks: 10}, 11250, 1406},
	}
	for _, tt := range tests {
		if e, f := tt.d.Estimate(), tt.d.Floor(); e != tt.estimate || f != tt.floor || f > e {
			t.Errorf("%s: %d and %d, want %d and %d", tt.name, e, f, tt.estimate, tt.floor)
		}
	}
}
