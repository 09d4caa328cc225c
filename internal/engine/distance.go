package engine

// Distance is Levenshtein's: how many elements are to be inserted, deleted or replaced, at least, to make b of a.
func Distance[T comparable](a, b []T) int {
	row := make([]int, len(b)+1) // from the part of a that was read to each part of b
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			next := diagonal
			if x != y {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
