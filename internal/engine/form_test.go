package engine

import (
	"errors"
	"testing"

	"github.com/tollgate-io/tollgate/internal/problem"
)

type inner struct {
	Text string `json:"text"`
}

type outer struct {
	inner
	List []struct {
		inner
		Count int `json:"count"`
	} `json:"list"`
	More map[string]*inner `json:"more"`
}

func TestDecodeNamesTheFieldAsItIsWritten(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"text":5}`:               "text",
		`{"list":[{"text":true}]}`: "list.text",
		`{"list":[{"count":"1"}]}`: "list.count",
		`{"list":{}}`:              "list",
		`{"more":5}`:               "more",
	} {
		var e *problem.Error
		if err := Decode([]byte(body), &outer{}); !errors.As(err, &e) || len(e.Fields) != 1 || e.Fields[0].Path != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
	if err := Decode([]byte(`{"text":"a","unknown":1}`), &outer{}); err != nil {
		t.Error(err)
	}
}

func TestDecodeStrict(t *testing.T) {
	t.Parallel()
	var v outer
	if err := DecodeStrict([]byte(`{"text":"a","list":[{"count":1}]}`), &v); err != nil || v.Text != "a" {
		t.Error(v, err)
	}
	for body, want := range map[string]string{`{"text":"a","entries":[]}`: "entries", `{"list":[{"source":"x"}]}`: "source"} {
		var e *problem.Error
		if err := DecodeStrict([]byte(body), &outer{}); !errors.As(err, &e) || len(e.Fields) != 1 || e.Fields[0].Path != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}
