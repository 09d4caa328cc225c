package translate

// knownPairs are the Apertium packages of Debian and the languages that they join, to tell what could be installed.
var knownPairs = [][3]string{
	{"en", "es", "apertium-eng-spa"}, {"en", "ca", "apertium-eng-cat"}, {"en", "eo", "apertium-eo-en"}, {"en", "gl", "apertium-en-gl"},
	{"es", "ca", "apertium-spa-cat"}, {"es", "fr", "apertium-fr-es"}, {"es", "pt", "apertium-es-pt"}, {"es", "it", "apertium-spa-ita"},
	{"es", "gl", "apertium-es-gl"}, {"es", "eo", "apertium-eo-es"}, {"es", "ro", "apertium-es-ro"}, {"es", "oc", "apertium-oc-es"},
	{"fr", "ca", "apertium-fra-cat"}, {"fr", "eo", "apertium-eo-fr"}, {"fr", "oc", "apertium-oci-fra"}, {"pt", "ca", "apertium-por-cat"},
	{"it", "ca", "apertium-cat-ita"}, {"eu", "es", "apertium-eu-es"}, {"eu", "en", "apertium-eu-en"}, {"is", "en", "apertium-isl-eng"},
	{"sh", "en", "apertium-hbs-eng"}, {"hr", "en", "apertium-hbs-eng"}, {"sr", "en", "apertium-hbs-eng"}, {"mk", "en", "apertium-mkd-eng"},
	{"sv", "da", "apertium-swe-dan"}, {"sv", "nb", "apertium-swe-nor"}, {"da", "nb", "apertium-dan-nor"}, {"nn", "nb", "apertium-nno-nob"},
	{"ru", "uk", "apertium-rus-ukr"}, {"af", "nl", "apertium-afr-nld"}, {"pt", "gl", "apertium-pt-gl"},
}

// knownPair is the package that joins two languages, or the first of two that do through a third; "" if there is none.
func knownPair(from, to string) string {
	joins := func(a, b string) string {
		for _, k := range knownPairs {
			if k[0] == a && k[1] == b || k[0] == b && k[1] == a {
				return k[2]
			}
		}
		return ""
	}
	if p := joins(from, to); p != "" {
		return p
	}
	for _, v := range pivots {
		if a, b := joins(from, v), joins(v, to); a != "" && b != "" {
			return a
		}
	}
	return ""
}
