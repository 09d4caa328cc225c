package text

import _ "embed"

//go:embed openapi.json
var contract []byte

// Contract is the OpenAPI 3.1 document of [Routes].
func Contract() []byte { return contract }
