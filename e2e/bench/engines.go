package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// operation is one call of a capability, as a caller makes it.
type operation struct {
	name, path string
	body       string            // JSON, in which # is another number each time; or
	file       func() []byte     // a form with this file
	fields     map[string]string // and these fields
}

// again is how often an operation is called after the first time, when its engine is loaded.
const again = 10

// engines calls each capability through the gateway, with key, hold and charge, and tells the time of a call and the
// memory of the server and of the processes that it keeps.
func engines(binary, installed string) error {
	installed, err := filepath.Abs(installed)
	if err != nil {
		return err
	}
	os.Setenv("TOLLGATE_ENGINES", installed)
	b, err := start(binary)
	if err != nil {
		return err
	}
	defer b.stop()
	gate, env := b.gate, b.env
	fmt.Printf("each capability through the gateway; the first call loads its engine; MB resident after the calls\n%-34s %10s %10s %8s %10s\n", "", "first", "median", "server", "processes")
	fmt.Printf("%-34s %10s %10s %8.0f %10.0f\n", "started", "", "", mb(gate.rss()), mb(family(gate.cmd.Process.Pid)))
	begin := operation{path: "/v1/assist/bots/" + env["TOLLGATE_BOT"] + "/sessions", body: "{}"}
	said, err := begin.call("http://"+gate.addr, env["TOLLGATE_KEY"])
	if err != nil {
		return err
	}
	var session struct{ ID, Secret string }
	if err := json.Unmarshal(said, &session); err != nil {
		return err
	}
	var speech []byte
	for _, o := range operations(session.ID, session.Secret, installed, func() []byte { return speech }) {
		if o.fields != nil && len(o.file()) == 0 {
			continue // nothing to send: what makes it is not installed
		}
		var times []time.Duration
		var answer []byte
		text := o.body
		for n := range again + 1 {
			o.body = strings.ReplaceAll(text, "#", strconv.Itoa(n))
			start := time.Now()
			answer, err = o.call("http://"+gate.addr, env["TOLLGATE_KEY"])
			if err != nil {
				break
			}
			times = append(times, time.Since(start))
		}
		if err != nil {
			fmt.Printf("%-34s %v\n", o.name, err)
			continue
		}
		if o.path == "/v1/audio/speech" {
			speech = answer
		}
		rest := slices.Sorted(slices.Values(times[1:]))
		fmt.Printf("%-34s %7.1f ms %7.1f ms %8.0f %10.0f\n", o.name, ms(times[0]), ms(rest[len(rest)/2]), mb(gate.rss()), mb(family(gate.cmd.Process.Pid)))
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }
func mb(n int64) float64         { return float64(n) / 1e6 }

// operations are what is measured; visitor is the secret of a session of the help bot. speech gives sound that an operation before made.
func operations(session, visitor, installed string, speech func() []byte) []operation {
	photo := func() []byte {
		data, _ := os.ReadFile(filepath.Join(installed, "vision", "samples", "screenshot-facedetect.jpg")) // absent: left out
		return data
	}
	image := func(name, path string, fields ...string) operation {
		f := map[string]string{"model": "vision"}
		for i := 0; i+1 < len(fields); i += 2 {
			f[fields[i]] = fields[i+1]
		}
		return operation{name: name, path: path, file: photo, fields: f}
	}
	return []operation{
		{name: "translate en→zh, dictionary", path: "/v1/translate", body: `{"text":"The weather is fine today.","source":"en","target":"zh"}`},
		{name: "translate es→en, Apertium", path: "/v1/translate", body: `{"text":"La casa es grande y el coche es rojo.","source":"es","target":"en"}`},
		{name: "language of a text", path: "/v1/text/language", body: `{"text":"Guten Morgen, wie geht es Ihnen?"}`},
		{name: "sentiment", path: "/v1/text/sentiment", body: `{"text":"The food was great but the service was slow."}`},
		{name: "keywords, Chinese", path: "/v1/text/keywords", body: `{"text":"平台将模型变成生意，并对每次调用进行计量和结算。"}`},
		{name: "summary", path: "/v1/text/summarise", body: `{"text":` + strconv.Quote(strings.Repeat("The gateway holds money before each call. The meter counts what was used. The ledger books it twice. ", 20)) + `}`},
		{name: "sentence vectors", path: "/v1/embeddings", body: `{"model":"sentence-vectors","input":"How do I reset password number #?"}`},
		{name: "text to speech", path: "/v1/audio/speech", body: `{"model":"speech","voice":"en","input":"Every call is metered and settled.","response_format":"wav"}`},
		{name: "voice activity", path: "/v1/audio/activity", file: speech, fields: map[string]string{"model": "speech"}},
		{name: "speech to text, 2 s", path: "/v1/audio/transcriptions", file: speech, fields: map[string]string{"model": "speech", "language": "en"}},
		image("objects in a photograph", "/v1/vision/detect"),
		image("faces in a photograph", "/v1/vision/faces/detect"),
		image("class of a photograph", "/v1/vision/classify"),
		image("moderation of a photograph", "/v1/vision/moderate"),
		image("text in a photograph", "/v1/vision/ocr"),
		image("noise removed", "/v1/vision/denoise"),
		{name: "a bot's answer", path: "/v1/assist/sessions/" + session + "/messages", body: `{"text":"What is a hold?","secret":` + strconv.Quote(visitor) + `}`},
		{name: "recommendation for a user", path: "/v1/recommend/spaces/shop/for-you", body: `{"user":"u1"}`},
	}
}

// call makes the call and gives its answer.
func (o *operation) call(base, key string) ([]byte, error) {
	body, kind := io.Reader(strings.NewReader(o.body)), "application/json"
	if o.fields != nil {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for k, v := range o.fields {
			if err := w.WriteField(k, v); err != nil {
				return nil, err
			}
		}
		name := "file"
		if strings.HasPrefix(o.path, "/v1/vision/") {
			name = "image"
		}
		p, err := w.CreateFormFile(name, name)
		if err == nil {
			_, err = p.Write(o.file())
		}
		if err := cmp.Or(err, w.Close()); err != nil {
			return nil, err
		}
		body, kind = &b, w.FormDataContentType()
	}
	r, err := http.NewRequest("POST", base+o.path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%d %.160s", resp.StatusCode, answer)
	}
	return answer, err
}

// family is the resident memory of all that a process has started.
func family(pid int) (total int64) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		if f := strings.Fields(rest); len(f) > 21 && f[1] == strconv.Itoa(pid) {
			id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pages, _ := strconv.ParseInt(f[21], 10, 64)
			total += pages*int64(os.Getpagesize()) + family(id)
		}
	}
	return total
}
