package speech

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/proc"
)

// sentences are what the evaluation has spoken: plain English of everyday matters.
var sentences = []string{
	"the weather is very nice today",
	"please send me the report before friday",
	"i would like to change my delivery address",
	"the train leaves at seven in the morning",
	"she bought a new car last week",
	"where can i find the nearest post office",
	"my order has not arrived yet",
	"we are going to the beach this afternoon",
	"could you tell me how much it costs",
	"the meeting was moved to next monday",
	"he forgot his keys on the kitchen table",
	"i want to cancel my subscription",
	"there is a problem with my account",
	"the children are playing in the garden",
	"you should drink more water every day",
	"my brother works in a large hospital",
	"open the window because it is hot in here",
	"the restaurant on the corner serves good food",
	"please give me the phone number of the office",
	"they have lived in london for ten years",
	"the price of the product is too high",
	"i cannot open the file that you sent me",
	"the book on the desk belongs to my teacher",
	"how long does the delivery take",
	"we need three more chairs for the guests",
	"the bank is closed on sunday",
	"her mother speaks english and spanish",
	"i am looking for a small apartment in the city",
	"the company will open a new store next year",
	"thank you very much for your help",
	"the dog is sleeping under the old tree",
	"what time does the museum open tomorrow",
	"my computer does not work any more",
	"the doctor told him to stay in bed",
	"it takes two hours to drive to the airport",
	"the river is very deep at this point",
	"can i pay with my credit card",
	"the students finished their work early",
	"he wants to learn how to play the piano",
	"we had a wonderful time at the party",
}

// Evaluate measures what is installed: recognition, voice activity, synthesis and live recognition, on generated
// sound whose text and pauses are known; and recognition of the recordings below data, NAME.wav with what is said in
// NAME.txt, if it is not "".
func Evaluate(ctx context.Context, o Options, data string) ([]engine.Report, error) {
	e, err := New(o)
	if err != nil {
		return nil, err
	}
	defer e.Close(context.WithoutCancel(ctx))
	var all []engine.Report
	for _, measure := range []func(context.Context) ([]engine.Report, error){
		e.evaluateRecognition, e.evaluateActivity, e.evaluateSynthesis, e.evaluateLive,
		func(ctx context.Context) ([]engine.Report, error) { return e.evaluateRecordings(ctx, data) },
	} {
		reports, err := measure(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, reports...)
	}
	for i := range all {
		all[i].Family, all[i].Date = "speech", time.Now().UTC().Format(time.DateOnly)
	}
	return all, nil
}

// wordErrors counts words that were heard wrong.
type wordErrors struct{ wrong, words int }

func (w *wordErrors) rate() float64 { return float64(w.wrong) / float64(max(1, w.words)) }

func (w *wordErrors) add(said, heard string) {
	a, b := normalWords(said), normalWords(heard)
	w.words += len(a)
	w.wrong += engine.Distance(a, b)
}

var noWord = regexp.MustCompile(`[^\pL\pN']+`)

func normalWords(s string) []string {
	return strings.Fields(noWord.ReplaceAllString(strings.ToLower(s), " "))
}

// evaluateRecognition has sentences spoken by several voices.
func (e *Engine) evaluateRecognition(ctx context.Context) ([]engine.Report, error) {
	if e.sphinx == nil || e.flite == "" || e.espeak == "" {
		return nil, nil
	}
	var total, fliteOnly wordErrors
	var sound float64
	var took time.Duration
	var figures []engine.Figure
	for _, voice := range []string{"flite/slt", "flite/rms", "flite/awb", "espeak-ng/en-us"} {
		var w wordErrors
		for _, s := range sentences {
			wav, err := e.Speak(ctx, s, "", voice)
			if err != nil {
				return nil, err
			}
			start := time.Now()
			t, err := e.recogniseBy(ctx, wav, sphinxEngine, "en")
			if err != nil {
				return nil, err
			}
			took += time.Since(start)
			sound += t.Seconds
			w.add(s, t.Text)
		}
		figures = append(figures, engine.Figure{Name: "word error rate, " + voice, Value: thousandths(w.rate())})
		total.wrong, total.words = total.wrong+w.wrong, total.words+w.words
		if strings.HasPrefix(voice, "flite") {
			fliteOnly.wrong, fliteOnly.words = fliteOnly.wrong+w.wrong, fliteOnly.words+w.words
		}
	}
	figures = append([]engine.Figure{
		{Name: "word accuracy", Value: thousandths(1 - fliteOnly.rate()), Floor: recognitionFloor},
		{Name: "word error rate, all voices", Value: thousandths(total.rate())},
	}, append(figures, engine.Figure{Name: "time per second of sound", Value: math.Round(took.Seconds() / sound * 1000), Unit: "ms"})...)
	return []engine.Report{{Engine: "pocketsphinx", Model: sphinxModel, Version: "0.8+5prealpha", Task: "speech recognition",
		Data: "40 English sentences spoken by 3 voices of flite and 1 of espeak-ng", Samples: 4 * len(sentences), Figures: figures,
		Note: "Demo grade. Word accuracy is of flite's voices, which were made from recordings; espeak-ng's formant voice is unlike a human one. Synthetic speech has neither noise nor accents: expect more errors on recordings."}}, nil
}

const (
	recognitionFloor = 0.85
	sileroFloor      = 0.95
	energyFloor      = 0.95
)

// evaluateRecordings recognises real recordings.
func (e *Engine) evaluateRecordings(ctx context.Context, data string) ([]engine.Report, error) {
	if data == "" || e.sphinx == nil {
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(data, "*.wav"))
	if err != nil {
		return nil, err
	}
	var w wordErrors
	n := 0
	for _, file := range files {
		said, err := os.ReadFile(strings.TrimSuffix(file, ".wav") + ".txt")
		if err != nil {
			continue // no text: not for this
		}
		sound, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		heard, err := e.recogniseBy(ctx, sound, sphinxEngine, "en")
		if err != nil {
			return nil, err
		}
		w.add(string(said), heard.Text)
		n++
	}
	if n == 0 {
		return nil, nil
	}
	return []engine.Report{{Engine: "pocketsphinx", Model: sphinxModel, Version: "0.8+5prealpha", Task: "speech recognition, recordings",
		Data: "recordings given", Samples: n, Figures: []engine.Figure{{Name: "word error rate", Value: thousandths(w.rate())}}}}, nil
}

// scene is sound in which it is known who speaks when.
type scene struct {
	pcm    []int16
	speech []bool // for each 10 ms
}

const tick = rate / 100

// add appends sound and whether it is speech: where it is loud, with the short gaps within.
func (s *scene) add(pcm []int16, speaks bool) {
	pcm = pcm[:len(pcm)/tick*tick]
	s.pcm = append(s.pcm, pcm...)
	first := len(s.speech)
	s.speech = append(s.speech, make([]bool, len(pcm)/tick)...)
	if !speaks {
		return
	}
	var peak float64
	levels := make([]float64, len(pcm)/tick)
	for i := range levels {
		for _, v := range pcm[i*tick : (i+1)*tick] {
			levels[i] += float64(v) * float64(v)
		}
		peak = max(peak, levels[i])
	}
	last := -1
	for i, v := range levels {
		if v < peak*1e-4 {
			continue
		}
		if last < 0 || i-last > 30 {
			last = i
		}
		for j := last; j <= i; j++ {
			s.speech[first+j] = true
		}
		last = i
	}
}

// noise adds white or pink noise with a signal-to-noise ratio in dB to the speech.
func (s *scene) noise(g *rand.Rand, ratio float64, pink bool) {
	var power float64
	n := 0
	for i, speaks := range s.speech {
		if speaks {
			for _, v := range s.pcm[i*tick : (i+1)*tick] {
				power += float64(v) * float64(v)
				n++
			}
		}
	}
	amp := math.Sqrt(power / float64(max(1, n)) / math.Pow(10, ratio/10))
	var rows [8]float64 // Voss's pink noise: sums of noises that change ever more seldom
	for i := range s.pcm {
		v := g.NormFloat64()
		if pink {
			for k := range rows {
				if i%(1<<k) == 0 {
					rows[k] = g.NormFloat64()
				}
			}
			v = 0
			for _, r := range rows {
				v += r
			}
			v /= math.Sqrt(float64(len(rows)))
		}
		s.pcm[i] = int16(max(-32768, min(32767, float64(s.pcm[i])+amp*v)))
	}
}

// score counts ticks, without those within 50 ms of a border.
type score struct{ hit, miss, alarm, right int }

func (c *score) add(s *scene, found []stretch) {
	said := make([]bool, len(s.speech))
	for _, f := range found {
		for i := f.start / tick; i < min(f.end/tick, len(said)); i++ {
			said[i] = true
		}
	}
	for i := range said {
		if near := s.speech[max(0, i-5):min(len(said), i+6)]; slices.Contains(near, !s.speech[i]) {
			continue
		}
		switch {
		case said[i] && s.speech[i]:
			c.hit++
		case said[i]:
			c.alarm++
		case s.speech[i]:
			c.miss++
		default:
			c.right++
		}
	}
}

func (c *score) f1() float64 { return 2 * float64(c.hit) / float64(max(1, 2*c.hit+c.alarm+c.miss)) }

func (c *score) recall() float64 { return float64(c.hit) / float64(max(1, c.hit+c.miss)) }

func (c *score) falseAlarms() float64 { return float64(c.alarm) / float64(max(1, c.alarm+c.right)) }

// utterances are pieces of speech: of the synthesisers in several languages, or without them pulses through
// resonances.
func (e *Engine) utterances(ctx context.Context) ([][]int16, string, error) {
	if e.espeak == "" || e.flite == "" {
		return [][]int16{hum(1500), hum(900), hum(2200), hum(600)}, "pulses through resonances", nil
	}
	var all [][]int16
	for i, say := range []Say{
		{Voice: "flite/slt"}, {Voice: "flite/rms"}, {Voice: "flite/awb"}, {Voice: "espeak-ng/en-us"},
		{Voice: "espeak-ng/de", Text: "Guten Morgen, wie geht es Ihnen heute?"}, {Voice: "espeak-ng/fr-fr", Text: "Où se trouve la gare, s'il vous plaît ?"},
		{Voice: "espeak-ng/cmn-latn-pinyin", Text: "你好，请问火车站在哪里？"}, {Voice: "espeak-ng/es", Text: "Quisiera cambiar mi dirección de entrega."},
		{Voice: "flite/slt"}, {Voice: "flite/rms"},
	} {
		if say.Text == "" {
			say.Text = sentences[i]
		}
		s, err := e.Say(ctx, say)
		if err != nil {
			return nil, "", err
		}
		all = append(all, resample(s.PCM, s.Rate, rate))
	}
	return all, "10 utterances of flite and espeak-ng in 5 languages", nil
}

// hum is a voice-like sound: pulses of 120 Hz through two resonances, swelling four times a second.
func hum(ms int) []int16 {
	out := make([]int16, ms*rate/1000)
	var a, b [2]float64
	ring := func(x, hz, width float64, y *[2]float64) float64 {
		r := math.Exp(-math.Pi * width / rate)
		v := 0.3*x + 2*r*math.Cos(2*math.Pi*hz/rate)*y[0] - r*r*y[1]
		y[1], y[0] = y[0], v
		return v
	}
	for i := range out {
		x := 0.0
		if i%(rate/120) == 0 {
			x = 1
		}
		v := ring(x, 600, 90, &a) + 0.5*ring(x, 1400, 120, &b)
		out[i] = toPCM(float32(0.4 * v * (0.6 + 0.4*math.Sin(2*math.Pi*4*float64(i)/rate))))
	}
	return out
}

// evaluateActivity finds speech between pauses in quiet and in noise, and where there is none at all.
func (e *Engine) evaluateActivity(ctx context.Context) ([]engine.Report, error) {
	said, what, err := e.utterances(ctx)
	if err != nil {
		return nil, err
	}
	reports := []engine.Report{}
	for _, neural := range []bool{true, false} {
		fresh := func() judge { return &energy{} }
		version, floor := "1", energyFloor
		if neural {
			if _, ok := e.judge().(*silero); !ok {
				continue
			}
			fresh, version, floor = e.judge, "5", sileroFloor
		}
		var figures []engine.Figure
		var all score
		var took time.Duration
		var sound float64
		find := func(s *scene) (c score, err error) {
			start := time.Now()
			found, err := e.stretches(ctx, fresh(), s.pcm, Cut{MinSilence: 300, Pad: 32})
			took += time.Since(start)
			sound += seconds(len(s.pcm))
			c.add(s, found)
			return c, err
		}
		for _, n := range []struct {
			name  string
			ratio float64
			pink  bool
		}{{"quiet", 60, false}, {"white noise 20 dB below", 20, false}, {"pink noise 20 dB below", 20, true}, {"pink noise 10 dB below", 10, true}} {
			c, err := find(mixed(said, n.ratio, n.pink))
			if err != nil {
				return nil, err
			}
			figures = append(figures, engine.Figure{Name: "F1, " + n.name, Value: thousandths(c.f1())})
			all.hit, all.miss, all.alarm, all.right = all.hit+c.hit, all.miss+c.miss, all.alarm+c.alarm, all.right+c.right
		}
		c, err := find(nobody())
		if err != nil {
			return nil, err
		}
		figures = append([]engine.Figure{
			{Name: "F1", Value: thousandths(all.f1()), Floor: floor}, {Name: "recall", Value: thousandths(all.recall())},
			{Name: "false alarms in pauses", Value: thousandths(all.falseAlarms())},
		}, append(figures, engine.Figure{Name: "false alarms in noise, tones and clicks", Value: thousandths(c.falseAlarms())},
			engine.Figure{Name: "time per second of sound", Value: thousandths(took.Seconds() / sound * 1000), Unit: "ms"})...)
		name, model := fresh().name()
		reports = append(reports, engine.Report{Engine: name, Model: model, Version: version, Task: "voice activity",
			Data: what + ", pauses of 0.5 to 2 s, 4 kinds of noise", Samples: 4 * len(said), Figures: figures,
			Note: "Shares of 10 ms steps, without those within 50 ms of a border."})
	}
	return reports, nil
}

// mixed is speech with pauses, in noise.
func mixed(said [][]int16, ratio float64, pink bool) *scene {
	g := rand.New(rand.NewPCG(7, uint64(ratio)))
	s := &scene{}
	for _, u := range said {
		s.add(make([]int16, rate/2+g.IntN(3*rate/2)), false)
		s.add(u, true)
	}
	s.add(make([]int16, rate), false)
	s.noise(g, ratio, pink)
	return s
}

// nobody is half a minute in which nobody speaks: noise that swells, tones, clicks.
func nobody() *scene {
	g := rand.New(rand.NewPCG(8, 8))
	pcm := make([]int16, 30*rate)
	for i := range pcm {
		t := float64(i) / rate
		v := 0.01 * g.NormFloat64()
		switch {
		case t < 10:
			v *= 1 + 2*math.Sin(t)
		case t < 20:
			if int(t*2)%2 == 0 {
				v += 0.2 * math.Sin(2*math.Pi*1000*t)
			}
		case i%(rate/2) < 40:
			v += 0.8 * g.NormFloat64()
		}
		pcm[i] = toPCM(float32(v))
	}
	s := &scene{}
	s.add(pcm, false)
	return s
}

// evaluateSynthesis times the synthesisers.
func (e *Engine) evaluateSynthesis(ctx context.Context) ([]engine.Report, error) {
	var all []engine.Report
	for _, c := range []struct{ program, engine, version, voice, data string }{
		{e.espeak, "espeak-ng", "", "espeak-ng/en-us", "40 English sentences"},
		{e.flite, "flite", "2.2", "flite/slt", "40 English sentences"},
	} {
		if c.program == "" {
			continue
		}
		if c.version == "" {
			out, err := proc.Run(ctx, proc.Spec{Path: c.program, Args: []string{"--version"}}, nil, 4096)
			if err != nil {
				return nil, err
			}
			c.version = regexp.MustCompile(`\d+\.\d+(\.\d+)?`).FindString(string(out))
		}
		var times []float64
		var sound float64
		for _, s := range sentences {
			start := time.Now()
			spoken, err := e.Say(ctx, Say{Text: s, Voice: c.voice})
			if err != nil {
				return nil, err
			}
			times = append(times, float64(time.Since(start).Microseconds())/1000)
			sound += spoken.Seconds()
		}
		slices.Sort(times)
		figures := []engine.Figure{
			{Name: "time of a sentence, median", Value: thousandths(times[len(times)/2]), Unit: "ms"},
			{Name: "time of a sentence, 95th percentile", Value: thousandths(times[len(times)*95/100]), Unit: "ms"},
			{Name: "sound of a sentence, mean", Value: thousandths(sound / float64(len(times)) * 1000), Unit: "ms"},
		}
		if c.engine == "espeak-ng" {
			list, err := e.espeakVoices(ctx)
			if err != nil {
				return nil, err
			}
			figures = append(figures, engine.Figure{Name: "voices", Value: float64(len(list)), Floor: 100})
		}
		all = append(all, engine.Report{Engine: c.engine, Model: c.engine, Version: c.version, Task: "text to speech",
			Data: c.data, Samples: len(times), Figures: figures, Note: "Voice " + c.voice + "; a process for each sentence, its start included."})
	}
	return all, nil
}

// evaluateLive feeds sentences as fast as they are spoken.
func (e *Engine) evaluateLive(ctx context.Context) ([]engine.Report, error) {
	if e.sphinx == nil || e.flite == "" {
		return nil, nil
	}
	var first, final []float64
	var w wordErrors
	said := sentences[:6]
	for _, s := range said {
		spoken, err := e.Say(ctx, Say{Text: s, Voice: "flite/slt"})
		if err != nil {
			return nil, err
		}
		pcm := append(make([]int16, rate/2), resample(spoken.PCM, spoken.Rate, rate)...)
		a, b, text, err := e.converse(ctx, append(pcm, make([]int16, 2*rate)...))
		if err != nil {
			return nil, err
		}
		first, final = append(first, a), append(final, b)
		w.add(s, text)
	}
	slices.Sort(first)
	slices.Sort(final)
	return []engine.Report{{Engine: "pocketsphinx", Model: sphinxModel, Version: "0.8+5prealpha", Task: "live recognition",
		Data: "6 English sentences spoken by flite, sent in real time", Samples: len(said), Figures: []engine.Figure{
			{Name: "first partial text after speech begins, median", Value: math.Round(first[len(first)/2]), Unit: "ms"},
			{Name: "final text after the pause is found, median", Value: math.Round(final[len(final)/2]), Unit: "ms"},
			{Name: "word error rate", Value: thousandths(w.rate())},
		}, Note: "Demo grade. A pause is found after 500 ms of silence."}}, nil
}

// converse sends sound in real time and gives how long after the beginning of speech the first partial text came,
// how long after its end was found the final one, in milliseconds, and the text.
func (e *Engine) converse(ctx context.Context, pcm []int16) (first, final float64, text string, err error) {
	l, err := e.Listen(ctx, Listen{Model: sphinxEngine})
	if err != nil {
		return 0, 0, "", err
	}
	defer l.Close()
	go func() { // ends with the session: every wait of it does
		beat := time.NewTicker(100 * time.Millisecond)
		defer beat.Stop()
		for piece := range slices.Chunk(pcm, rate/10) {
			if l.Feed(appendPCM(nil, piece)) != nil {
				return
			}
			select {
			case <-beat.C:
			case <-l.ctx.Done():
				return
			}
		}
		_ = l.Finish() // fails when it has been closed
	}()
	var began, ended time.Time
	for ev := range l.Events() {
		switch ms := func(since time.Time) float64 { return float64(time.Since(since).Milliseconds()) }; ev.Type {
		case SpeechStarted:
			if began.IsZero() {
				began = time.Now()
			}
		case Partial:
			if first == 0 {
				first = ms(began)
			}
		case SpeechStopped:
			ended = time.Now()
		case Final:
			final = ms(ended)
			text = strings.TrimSpace(text + " " + ev.Text)
		}
	}
	return first, final, text, l.Err()
}
