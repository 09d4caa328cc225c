package engine

// Operation is a route with what serves it: a function of its room's own type.
type Operation[F any] struct {
	Route
	Serve F
}

// RoutesOf are the routes of operations.
func RoutesOf[F any](all []Operation[F]) []Route {
	out := make([]Route, len(all))
	for i, o := range all {
		out[i] = o.Route
	}
	return out
}

// Handlers are what serves operations, by their names.
func Handlers[F any](all []Operation[F]) map[string]F {
	out := make(map[string]F, len(all))
	for _, o := range all {
		out[o.Name] = o.Serve
	}
	return out
}
