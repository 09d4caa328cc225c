package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
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
	p.images = []string{o.picture.url()}
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
	return column("image", []string{o.picture.base64}), params
}

func (o *imageClassify) inferred(out *outputs) (any, error) {
	all, err := out.scores(1, o.Labels)
	if err != nil {
		return nil, err
	}
	return o.result(all[0]), nil
}

// box is a rectangle of a picture, in pixels from its upper left corner.
type box struct {
	X      int `json:"x"`
	Y      int `json:"y"`
	Width  int `json:"width"`
	Height int `json:"height"`
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
	p.images = []string{o.picture.url()}
	p.items, p.size = o.Max, 30*o.Max
}

// found is a thing as a model says it.
type found struct {
	scored
	Box struct {
		X, Y, Width, Height float64
	} `json:"box"`
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
		b, inside := o.pixels(f.Box.X, f.Box.Y, f.Box.Width, f.Box.Height)
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

// slack is how far outside of the picture a box may reach before it is taken for nonsense; it is cut at the edge.
const slack = 0.02

// pixels turns a box in parts of the picture into pixels.
func (o *detect) pixels(x, y, width, height float64) (b box, ok bool) {
	for _, v := range []float64{x, y, x + width, y + height} {
		if !(v >= -slack && v <= 1+slack) {
			return b, false
		}
	}
	if width <= 0 || height <= 0 {
		return b, false
	}
	w, h := o.picture.width, o.picture.height
	at := func(v float64, n int) int { return int(math.Round(min(max(v, 0), 1) * float64(n))) }
	b = box{X: min(at(x, w), w-1), Y: min(at(y, h), h-1)}
	b.Width, b.Height = max(at(x+width, w)-b.X, 1), max(at(y+height, h)-b.Y, 1)
	return b, true
}

func (o *detect) infer() ([]tensor, map[string]any) {
	params := map[string]any{"max": o.Max, "min_confidence": *o.Least}
	if len(o.Labels) > 0 {
		params["labels"] = string(marshal(o.Labels))
	}
	return column("image", []string{o.picture.base64}), params
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
		list[i].Box.X, list[i].Box.Y, list[i].Box.Width, list[i].Box.Height = b[0], b[1], b[2], b[3]
	}
	return o.answer(list)
}

// ocr is vision.ocr.
type ocr struct {
	Image    string `json:"image"`
	Language string `json:"language"`

	picture *picture
}

func readOCR(c *Call) (operation, error) {
	o := &ocr{}
	err := c.body(o)
	if err != nil {
		return nil, err
	}
	o.picture, err = open(o.Image, nil)
	return o, err
}

// maxOCR is the text of a page, in code points, that an answer is sized for.
const maxOCR = 4000

func (o *ocr) ask(p *prompt) {
	p.say("You read the text in a picture: every line exactly as it is written, in reading order, neither translated nor corrected. An empty list if there is none.")
	p.shape = `{"lines":["first line","second line"]}`
	p.images = []string{o.picture.url()}
	p.size = maxOCR
}

func (o *ocr) hear(text string) (any, error) {
	var lines []string
	err := findJSON(text, func(value []byte) error {
		var a struct {
			Lines *[]string `json:"lines"`
			Text  *string   `json:"text"`
		}
		if value[0] == '[' {
			return json.Unmarshal(value, &lines)
		}
		if err := json.Unmarshal(value, &a); err != nil {
			return err
		}
		switch {
		case a.Lines != nil:
			lines = *a.Lines
		case a.Text != nil:
			lines = nonEmptyLines(*a.Text)
		default:
			return errors.New("no lines in the answer")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return o.answer(lines), nil
}

func nonEmptyLines(text string) (list []string) {
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" {
			list = append(list, l)
		}
	}
	return list
}

// answer cuts lines that have line ends in them.
func (o *ocr) answer(lines []string) any {
	return o.result(nonEmptyLines(strings.Join(lines, "\n")))
}

func (o *ocr) infer() ([]tensor, map[string]any) {
	params := map[string]any{}
	if languageCode.MatchString(o.Language) {
		params["language"] = o.Language
	}
	return column("image", []string{o.picture.base64}), params
}

func (o *ocr) inferred(out *outputs) (any, error) {
	list, err := out.texts(1, "text")
	if err != nil {
		return nil, err
	}
	return o.answer(list), nil
}
