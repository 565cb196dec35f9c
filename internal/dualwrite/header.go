package dualwrite

import (
	"encoding/json"
	"strings"
)

// header is the first line of each function: what it was made from, so that whoever reads it later can tell whether it is still the same
// without another look at the expressions.
type header struct {
	Direction Direction `json:"direction"`
	Reads     []string  `json:"reads"`
	ReadsBack []string  `json:"reads_back,omitempty"`
	Whole     bool      `json:"whole,omitempty"`
	WholeBack bool      `json:"whole_back,omitempty"`
	Immutable bool      `json:"immutable"`
}

const headerMark = "\n-- backfleet dual-write "

func headerOf(d Direction, in inspection) header {
	return header{d, in.forward.reads, in.backward.reads, in.forward.whole, in.backward.whole, in.forward.immutable}
}

func (h header) line() string {
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // texts and booleans always marshal
	}
	return headerMark + string(b)
}

func readHeader(body string) (h header, ok bool) {
	text, found := strings.CutPrefix(body, headerMark)
	line, _, _ := strings.Cut(text, "\n")
	return h, found && json.Unmarshal([]byte(line), &h) == nil
}

func (h header) inspection() inspection {
	return inspection{
		inspected{reads: h.Reads, whole: h.Whole, immutable: h.Immutable},
		inspected{reads: h.ReadsBack, whole: h.WholeBack, immutable: h.Immutable},
	}
}
