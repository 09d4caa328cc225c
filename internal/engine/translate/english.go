package translate

import "strings"

// irregularVerbs are base, past and past participle.
const irregularVerbs = `
be was been
have had had
do did done
go went gone
say said said
get got got
make made made
know knew known
think thought thought
take took taken
see saw seen
come came come
find found found
give gave given
tell told told
become became become
show showed shown
leave left left
feel felt felt
put put put
bring brought brought
begin began begun
keep kept kept
hold held held
write wrote written
stand stood stood
hear heard heard
let let let
mean meant meant
set set set
meet met met
run ran run
pay paid paid
sit sat sat
speak spoke spoken
lie lay lain
lead led led
read read read
grow grew grown
lose lost lost
fall fell fallen
send sent sent
build built built
understand understood understood
draw drew drawn
break broke broken
spend spent spent
cut cut cut
rise rose risen
drive drove driven
buy bought bought
wear wore worn
choose chose chosen
eat ate eaten
drink drank drunk
sleep slept slept
sing sang sung
swim swam swum
teach taught taught
catch caught caught
fight fought fought
forget forgot forgotten
fly flew flown
forgive forgave forgiven
hide hid hidden
hit hit hit
hurt hurt hurt
lend lent lent
ride rode ridden
ring rang rung
sell sold sold
shake shook shaken
shoot shot shot
shut shut shut
steal stole stolen
stick stuck stuck
swear swore sworn
throw threw thrown
wake woke woken
win won won
bite bit bitten
blow blew blown
burn burnt burnt
cost cost cost
deal dealt dealt
dig dug dug
dream dreamt dreamt
feed fed fed
freeze froze frozen
hang hung hung
learn learnt learnt
quit quit quit
seek sought sought
sink sank sunk
smell smelt smelt
spread spread spread
tear tore torn
beat beat beaten
bend bent bent
bleed bled bled
breed bred bred
wind wound wound
weep wept wept
lay laid laid
spoil spoilt spoilt
sweep swept swept
`

// irregularNouns are plural and singular, and irregular comparison.
const irregularNouns = `
men man
women woman
children child
people people
feet foot
teeth tooth
mice mouse
geese goose
knives knife
wives wife
lives life
leaves leaf
wolves wolf
better good
best good
worse bad
worst bad
`

// english knows how English words bend.
type english struct {
	base  map[string]string // of a bent form
	past  map[string]string // of a base
	forms map[string]string // of a bent form: "past", "participle", "plural"
}

func newEnglish() *english {
	e := &english{map[string]string{}, map[string]string{}, map[string]string{}}
	for row := range strings.Lines(irregularVerbs) {
		if f := strings.Fields(row); len(f) == 3 {
			e.past[f[0]] = f[1]
			for i, form := range []string{"past", "participle"} {
				if w := f[i+1]; w != f[0] && e.base[w] == "" {
					e.base[w], e.forms[w] = f[0], form
				}
			}
		}
	}
	for row := range strings.Lines(irregularNouns) {
		if f := strings.Fields(row); len(f) == 2 {
			e.base[f[0]], e.forms[f[0]] = f[1], "plural"
		}
	}
	return e
}

// bases are what w may be a form of, the likeliest first, with the form: plural (or third person), past, ing, comparative.
func (e *english) bases(w string) (bases []string, form string) {
	if b := e.base[w]; b != "" {
		return []string{b}, e.forms[w]
	}
	add := func(b string) { bases = append(bases, b) }
	n := len(w)
	switch {
	case strings.HasSuffix(w, "ies") && n > 4:
		add(w[:n-3] + "y")
		form = "plural"
	case strings.HasSuffix(w, "es") && n > 3:
		add(w[:n-1])
		add(w[:n-2])
		form = "plural"
	case strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") && n > 3:
		add(w[:n-1])
		form = "plural"
	case strings.HasSuffix(w, "ied") && n > 4:
		add(w[:n-3] + "y")
		form = "past"
	case strings.HasSuffix(w, "ed") && n > 3:
		add(w[:n-1])
		add(w[:n-2])
		if n > 5 && w[n-3] == w[n-4] {
			add(w[:n-3])
		}
		form = "past"
	case strings.HasSuffix(w, "ing") && n > 4:
		add(w[:n-3])
		add(w[:n-3] + "e")
		if n > 6 && w[n-4] == w[n-5] {
			add(w[:n-4])
		}
		form = "ing"
	case strings.HasSuffix(w, "er") && n > 4, strings.HasSuffix(w, "est") && n > 5:
		stem := strings.TrimSuffix(strings.TrimSuffix(w, "er"), "est")
		add(stem)
		add(stem + "e")
		if strings.HasSuffix(stem, "i") {
			add(stem[:len(stem)-1] + "y")
		}
		if m := len(stem); m > 3 && stem[m-1] == stem[m-2] {
			add(stem[:m-1])
		}
		form = "comparative"
	}
	return bases, form
}

// pastOf is the past tense of a verb in its base form.
func (e *english) pastOf(v string) string {
	first, rest, _ := strings.Cut(v, " ")
	if rest != "" {
		rest = " " + rest
	}
	switch p := e.past[first]; {
	case p != "":
		return p + rest
	case strings.HasSuffix(first, "e"):
		return first + "d" + rest
	case strings.HasSuffix(first, "y") && len(first) > 2 && !strings.ContainsRune("aeiou", rune(first[len(first)-2])):
		return first[:len(first)-1] + "ied" + rest
	}
	return first + "ed" + rest
}

// thirdOf is the third person singular of a verb in its base form.
func (e *english) thirdOf(v string) string {
	first, rest, _ := strings.Cut(v, " ")
	if rest != "" {
		rest = " " + rest
	}
	switch {
	case first == "be":
		return "is" + rest
	case first == "have":
		return "has" + rest
	}
	return plural(first) + rest
}

func plural(n string) string {
	switch {
	case n == "":
		return n
	case strings.HasSuffix(n, "s"), strings.HasSuffix(n, "x"), strings.HasSuffix(n, "ch"), strings.HasSuffix(n, "sh"), strings.HasSuffix(n, "o"):
		return n + "es"
	case strings.HasSuffix(n, "y") && len(n) > 2 && !strings.ContainsRune("aeiou", rune(n[len(n)-2])):
		return n[:len(n)-1] + "ies"
	}
	return n + "s"
}
