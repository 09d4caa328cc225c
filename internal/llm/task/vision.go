package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// imageClassify is vision.classify: labels of the caller's, or any that fit.
type imageClassify struct {
	Image  string   `json:"image"`
	Labels wordList `json:"labels"`
	Top    int      `json:"top"`
	Named  string   `json:"classifier"`

	picture *picture
}

// wordList is a list of words: in JSON a list, in a form words with commas between.
type wordList []string

// UnmarshalJSON reads either form.
func (w *wordList) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return json.Unmarshal(raw, (*[]string)(w))
	}
	for word := range strings.SplitSeq(s, ",") {
		if word = strings.TrimSpace(word); word != "" {
			*w = append(*w, word)
		}
	}
	return nil
}

// open reads a picture of a request, and checks the labels that may come with it.
func open(image string, labels []string) (*picture, error) {
	if len(labels) > 0 {
		if err := checkLabels(labels, 1); err != nil {
			return nil, err
		}
	}
	if image == "" {
		return nil, invalid("image", "must be an image in base64")
	}
	return readPicture("image", image)
}

func readVisionClassify(c *Call) (operation, error) {
	o := &imageClassify{}
	err := c.body(o)
	if err != nil {
		return nil, err
	}
	if o.Named != "" {
		return nil, notHere("classifier", "is a model on this server, and not the one behind this product; leave it out")
	}
	if o.Top == 0 {
		o.Top = 5
	}
	if o.Top < 1 || o.Top > 100 {
		return nil, invalid("top", "must be from 1 to 100")
	}
	o.picture, err = open(o.Image, o.Labels)
	return o, err
}

func (o *imageClassify) ask(p *prompt) {
	p.say(fmt.Sprintf("You say what a picture shows, in at most %d labels, the surest first. %s", o.Top, confidenceRule))
	if len(o.Labels) > 0 {
		p.say("The input named labels is a JSON list of the labels that exist; there are no others. Write them exactly as they are in the list.")
		p.list("labels", o.Labels)
	} else {
		p.say("Labels are common nouns in English, in small letters.")
	}
	p.shape = labelsShape
	p.pictures = []*picture{o.picture}
	p.items, p.size = o.Top, 20*o.Top
}

func (o *imageClassify) hear(text string) (any, error) {
	all, err := labelled(text, 1, o.Labels)
	if err != nil {
		return nil, err
	}
	return o.result(all[0]), nil
}

func (o *imageClassify) infer() ([]tensor, map[string]any) {
	params := map[string]any{"top": o.Top}
	if len(o.Labels) > 0 {
		params["labels"] = string(marshal(o.Labels))
	}
	return column("image", []string{o.picture.base64()}), params
}

func (o *imageClassify) inferred(out *outputs) (any, error) {
	if _, ok := out.named("scores"); ok {
		all, err := out.matrix(1, o.Labels)
		if err != nil {
			return nil, err
		}
		return o.result(all[0]), nil
	}
	labels, err := out.texts(-1, "label")
	if err != nil {
		return nil, err
	}
	sure, err := out.numbers("confidence", len(labels))
	if err != nil {
		return nil, err
	}
	r := make(ranking, len(labels))
	for i, l := range labels {
		if r[i] = (scored{l, 1}); sure != nil {
			r[i].Confidence = round(sure[i])
		}
	}
	if r, err = r.checked(o.Labels); err != nil {
		return nil, err
	}
	return o.result(r), nil
}

// object is a thing in a picture.
type object struct {
	scored
	Box box `json:"box"`
}

// detect is vision.detect.
type detect struct {
	Image  string   `json:"image"`
	Labels wordList `json:"labels"`
	Least  *float64 `json:"min_confidence"`
	Max    int      `json:"max"`

	picture *picture
}

// maxObjects bounds what is found in a picture.
const maxObjects = 100

func readDetect(c *Call) (operation, error) {
	o := &detect{}
	err := c.body(o)
	if err != nil {
		return nil, err
	}
	if o.Least == nil {
		o.Least = new(0.3)
	}
	if !(*o.Least >= 0.05 && *o.Least <= 1) {
		return nil, invalid("min_confidence", "must be a number from 0.05 to 1")
	}
	if o.Max == 0 {
		o.Max = 50
	}
	if o.Max < 1 || o.Max > maxObjects {
		return nil, invalid("max", "must be a whole number from 1 to 100")
	}
	o.picture, err = open(o.Image, o.Labels)
	return o, err
}

func (o *detect) ask(p *prompt) {
	p.say("You find the things in a picture, each single one with its box: x and y of the upper left corner, width and height, as parts of the picture's width and height from 0 to 1. " +
		"Say how sure you are of each, as a number from 0 to 1.")
	if len(o.Labels) > 0 {
		p.say("The input named labels is a JSON list of what to look for; there is nothing else to find. Write labels exactly as they are in the list.")
		p.list("labels", o.Labels)
	} else {
		p.say("Labels are common nouns in English, in small letters.")
	}
	p.say(fmt.Sprintf("Give at most %d things, the surest first; an empty list if there is none.", o.Max))
	p.shape = `{"objects":[{"label":"cat","confidence":0.9,"box":{"x":0.1,"y":0.2,"width":0.3,"height":0.4}}]}`
	p.pictures = []*picture{o.picture}
	p.items, p.size = o.Max, 30*o.Max
}

// found is a thing as a model says it.
type found struct {
	scored
	Box area `json:"box"`
}

func (o *detect) hear(text string) (any, error) {
	var out any
	err := findJSON(text, func(value []byte) error {
		var a struct {
			Objects *[]found `json:"objects"`
		}
		if value[0] == '[' {
			a.Objects = &[]found{}
			if err := json.Unmarshal(value, a.Objects); err != nil {
				return err
			}
		} else if err := json.Unmarshal(value, &a); err != nil {
			return err
		}
		if a.Objects == nil {
			return errors.New("no objects in the answer")
		}
		var err error
		out, err = o.answer(*a.Objects)
		return err
	})
	return out, err
}

// answer checks what was found and turns parts of the picture into pixels.
func (o *detect) answer(list []found) (any, error) {
	if len(list) > 10*maxObjects {
		return nil, errors.New("too many objects")
	}
	kept := []object{}
	for _, f := range list {
		label, ok := match(f.Label, o.allowed())
		b, inside := o.picture.pixels(f.Box)
		if !ok || !inside || !(f.Confidence >= 0 && f.Confidence <= 1) {
			return nil, fmt.Errorf("object %q with confidence %v at %v", f.Label, f.Confidence, f.Box)
		}
		if f.Confidence >= *o.Least && len(kept) < o.Max {
			kept = append(kept, object{scored{label, f.Confidence}, b})
		}
	}
	return o.result(kept), nil
}

// allowed is what may be found; nil for anything.
func (o *detect) allowed() []string {
	if len(o.Labels) == 0 {
		return nil
	}
	return o.Labels
}

func (o *detect) infer() ([]tensor, map[string]any) {
	params := map[string]any{"max": o.Max, "min_confidence": *o.Least}
	if len(o.Labels) > 0 {
		params["labels"] = string(marshal(o.Labels))
	}
	return column("image", []string{o.picture.base64()}), params
}

func (o *detect) inferred(out *outputs) (any, error) {
	if _, ok := out.named("label"); !ok {
		return nil, errors.New("no output label")
	}
	labels, err := out.texts(-1, "label")
	if err != nil {
		return nil, err
	}
	boxes, err := out.numbers("boxes", 4*len(labels))
	if err != nil || boxes == nil && len(labels) > 0 {
		return nil, errors.Join(errors.New("no boxes"), err)
	}
	sure, err := out.numbers("confidence", len(labels))
	if err != nil {
		return nil, err
	}
	list := make([]found, len(labels))
	for i, l := range labels {
		list[i].scored = scored{l, 1}
		if sure != nil {
			list[i].Confidence = round(sure[i])
		}
		b := boxes[4*i:]
		list[i].Box = area{b[0], b[1], b[2], b[3]}
	}
	return o.answer(list)
}

// ocr is vision.ocr.
type ocr struct {
	Image    string `json:"image"`
	Language string `json:"language"`
	Engine   string `json:"engine"`

	picture *picture
}

func readOCR(c *Call) (operation, error) {
	o := &ocr{}
	err := c.body(o)
	if err != nil {
		return nil, err
	}
	if o.Engine != "" {
		return nil, notHere("engine", "is not one that the model behind this product has; leave it out")
	}
	o.picture, err = open(o.Image, nil)
	return o, err
}

// maxOCR is the text of a page, in code points, that an answer is sized for.
const maxOCR = 2000

func (o *ocr) ask(p *prompt) {
	p.say("You read the text in a picture: every line exactly as it is written, in reading order, neither translated nor corrected, " +
		"each with how sure you are of it, from 0 to 1. An empty list if there is none.")
	p.shape = `{"lines":[{"text":"first line","confidence":0.95}]}`
	p.pictures = []*picture{o.picture}
	p.size = maxOCR
}

// readLine is a line of text as a model gives it.
type readLine struct {
	Text       string   `json:"text"`
	Confidence *float64 `json:"confidence"`
	Box        *area    `json:"box"`
}

// UnmarshalJSON reads an object, or the text alone.
func (l *readLine) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, &l.Text) == nil {
		return nil
	}
	type plain readLine
	return json.Unmarshal(raw, (*plain)(l))
}

func (o *ocr) hear(text string) (any, error) {
	var out any
	err := findJSON(text, func(value []byte) error {
		var a struct {
			Lines *[]readLine `json:"lines"`
			Text  *string     `json:"text"`
		}
		if value[0] == '[' {
			a.Lines = &[]readLine{}
			if err := json.Unmarshal(value, a.Lines); err != nil {
				return err
			}
		} else if err := json.Unmarshal(value, &a); err != nil {
			return err
		}
		if a.Lines == nil && a.Text == nil {
			return errors.New("no lines in the answer")
		}
		if a.Lines == nil {
			a.Lines = linesOf(*a.Text, nil)
		}
		var err error
		out, err = o.answer(*a.Lines)
		return err
	})
	return out, err
}

// linesOf makes lines of a text, which all have one confidence.
func linesOf(text string, sure *float64) *[]readLine {
	list := []readLine{}
	for _, l := range nonEmptyLines(text) {
		list = append(list, readLine{Text: l, Confidence: sure})
	}
	return &list
}

func nonEmptyLines(text string) (list []string) {
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" {
			list = append(list, l)
		}
	}
	return list
}

// textLine is a line as the contract has it. A line of a model that does not tell where it is has no place.
type textLine struct {
	Text       string  `json:"text"`
	Confidence float64 `json:"confidence"`
	Box        *box    `json:"box,omitempty"`
	Polygon    []point `json:"polygon,omitempty"`
}

type point struct {
	X int `json:"x"`
	Y int `json:"y"`
}

// answer checks the lines; one with line ends in it becomes one.
func (o *ocr) answer(lines []readLine) (any, error) {
	if len(lines) > maxFound {
		return nil, fmt.Errorf("%d lines", len(lines))
	}
	list := []textLine{}
	for _, l := range lines {
		t := textLine{Text: strings.Join(nonEmptyLines(l.Text), " "), Confidence: orElse(l.Confidence, 0)}
		if !(t.Confidence >= 0 && t.Confidence <= 1) {
			return nil, fmt.Errorf("a confidence of %v", t.Confidence)
		}
		if l.Box != nil {
			b, ok := o.picture.pixels(*l.Box)
			if !ok {
				return nil, fmt.Errorf("a line at %v", *l.Box)
			}
			t.Box, t.Polygon = &b, b.corners()
		}
		if t.Text != "" {
			list = append(list, t)
		}
	}
	return o.result(list), nil
}

func (o *ocr) infer() ([]tensor, map[string]any) {
	params := map[string]any{}
	if languageCode.MatchString(o.Language) {
		params["language"] = o.Language
	}
	return column("image", []string{o.picture.base64()}), params
}

func (o *ocr) inferred(out *outputs) (any, error) {
	if _, ok := out.named("lines"); ok {
		all, err := itemsOfTensor(out, "lines", 1, func(int, *[]readLine) error { return nil })
		if err != nil {
			return nil, err
		}
		return o.answer(all[0])
	}
	list, err := out.texts(1, "text")
	if err != nil {
		return nil, err
	}
	sure, err := out.numbers("confidence", 1)
	if err != nil {
		return nil, err
	}
	var one *float64
	if sure != nil {
		one = new(round(sure[0]))
	}
	return o.answer(*linesOf(list[0], one))
}
