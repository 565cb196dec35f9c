package job

import (
	"errors"
	"fmt"
	"strings"
)

// maxName is Postgres' limit of an identifier in bytes; it cuts off longer ones silently.
const maxName = 63

// SplitTable reads a spec's `table`: `schema.table` or `table`, each part taken literally (no case folding) up to the first
// dot, or quoted as in SQL (`"we""ird"."a.b"`). schema is empty when the text names none.
func SplitTable(text string) (schema, name string, err error) {
	first, rest, err := tablePart(text, true)
	if err != nil {
		return "", "", err
	}
	if rest == "" {
		return "", first, nil
	}
	second, rest, err := tablePart(rest[1:], false)
	if err != nil {
		return "", "", err
	}
	if rest != "" {
		return "", "", fmt.Errorf("text follows the closing quote: %q", rest)
	}
	return first, second, nil
}

// tablePart reads one name. rest is empty, or begins with the dot that ended it.
func tablePart(text string, mayEndAtDot bool) (name, rest string, err error) {
	if strings.HasPrefix(text, `"`) {
		name, rest, err = quotedPart(text)
	} else if dot := strings.IndexByte(text, '.'); mayEndAtDot && dot >= 0 {
		name, rest = text[:dot], text[dot:]
	} else {
		name = text
	}
	switch {
	case err != nil:
		return "", "", err
	case name == "":
		return "", "", errors.New("a name in it is empty")
	case strings.ContainsRune(name, 0):
		return "", "", errors.New("a name in it holds a NUL byte")
	case len(name) > maxName:
		return "", "", fmt.Errorf("the name %q is longer than Postgres' %d bytes", name, maxName)
	case rest != "" && rest[0] != '.':
		return "", "", fmt.Errorf("text follows the closing quote: %q", rest)
	}
	return name, rest, nil
}

func quotedPart(text string) (name, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] != '"' {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		return b.String(), text[i+1:], nil
	}
	return "", "", errors.New("the closing quote is missing")
}
