package ranges

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// ParseKey reads a key as a person or a program writes it: a JSON array of strings and numbers, one a key column, such as
// ["7", 42]; a JSON string; null for the unbounded key; or, for a key of one column, the plain text, such as 42 or
// 2026-01-31. Text that begins with [ or " must be valid JSON. The key is not checked against a table: that is Postgres'
// business.
func ParseKey(s string) (Key, error) {
	k, err := parseKey(s)
	if err != nil {
		return nil, fmt.Errorf("key %.80q: %w; write a key as 42, or as a JSON array with a value for each key column, "+
			`such as ["7","abc"]`, s, err)
	}
	return k, nil
}

func parseKey(s string) (Key, error) {
	switch {
	case s == "":
		return nil, errors.New("is empty")
	case !utf8.ValidString(s):
		return nil, errors.New("is not valid UTF-8")
	case s == "null":
		return nil, nil
	case s[0] != '[' && s[0] != '"':
		return oneColumn(s)
	}
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("is not valid JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("goes on after the end of its JSON value")
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) == 0 {
		return nil, errors.New("names no column's value")
	}
	k := make(Key, len(list))
	for i, e := range list {
		text, err := columnText(e)
		if err != nil {
			return nil, fmt.Errorf("value %d %w", i+1, err)
		}
		k[i] = text
	}
	return k, nil
}

func oneColumn(s string) (Key, error) {
	text, err := columnText(s)
	if err != nil {
		return nil, err
	}
	return Key{text}, nil
}

// columnText returns the Postgres text of one decoded JSON value.
func columnText(v any) (string, error) {
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	case nil:
		return "", errors.New("is null; a key column never is")
	default:
		return "", fmt.Errorf("is neither text nor a number")
	}
	if strings.ContainsRune(text, 0) {
		return "", errors.New("holds a NUL character, which Postgres cannot store")
	}
	return text, nil
}
