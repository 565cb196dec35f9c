package ddl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/backfleet/backfleet/internal/ddl/pgquery"
)

// maxSource bounds what is parsed, in bytes: a migration is written by a person.
const maxSource = 256 << 10

// Statement is one statement of a file.
type Statement struct {
	Number int    `json:"number"` // from 1
	Line   int    `json:"line"`   // where it begins, from 1
	SQL    string `json:"sql"`    // its source text, without the semicolon

	at        int // where SQL begins in the source, in bytes
	node      any
	names     []Name // relations that it names, as written
	functions []string
	operators []string
	types     []string
}

// SyntaxError is a place where the source cannot be read.
type SyntaxError struct {
	Line   int    // from 1
	Column int    // from 1, in characters
	Why    string // what PostgreSQL's parser says
	Fix    string
}

// Error says where and why in one line.
func (e *SyntaxError) Error() string {
	s := fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Why)
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Parse reads a file of SQL with PostgreSQL's own parser, that of version 17: what only 18 can say, such as NOT NULL ... NOT VALID, is an error.
// A file without a statement is an error too. Every error of the source is a [SyntaxError].
func Parse(source string) ([]Statement, error) {
	if err := readable(source); err != nil {
		return nil, err
	}
	tree, err := parse(source)
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Statements []struct {
			Node     map[string]json.RawMessage `json:"stmt"`
			Location int                        `json:"stmt_location"`
			Length   int                        `json:"stmt_len"`
		} `json:"stmts"`
	}
	if err := json.Unmarshal([]byte(tree), &parsed); err != nil {
		return nil, fmt.Errorf("read the parse tree: %w", err)
	}
	if len(parsed.Statements) == 0 {
		return nil, &SyntaxError{Line: 1, Column: 1, Why: "holds no statement", Fix: "write at least one"}
	}
	out := make([]Statement, 0, len(parsed.Statements))
	for i, p := range parsed.Statements {
		end := len(source)
		if p.Length > 0 {
			end = p.Location + p.Length
		}
		at := p.Location + blank(source[p.Location:end])
		s := Statement{Number: i + 1, Line: 1 + strings.Count(source[:at], "\n"), SQL: strings.TrimRight(source[at:end], " \t\r\n\f\v"), at: at}
		for kind, raw := range p.Node {
			if s.node, err = decode(kind, raw); err != nil {
				return nil, err
			}
			var whole expression
			if err := json.Unmarshal(raw, &whole); err != nil {
				return nil, fmt.Errorf("read the parse tree: %w", err)
			}
			s.collect(whole)
		}
		out = append(out, s)
	}
	return out, nil
}

// readable refuses what the parser would silently cut off or misread.
func readable(source string) error {
	if len(source) > maxSource {
		return &SyntaxError{Line: 1, Column: 1, Why: fmt.Sprintf("holds %d bytes, more than %d", len(source), maxSource), Fix: "split the file"}
	}
	if !utf8.ValidString(source) {
		return &SyntaxError{Line: 1, Column: 1, Why: "is not UTF-8", Fix: "save the file as UTF-8"}
	}
	if at := strings.IndexByte(source, 0); at >= 0 {
		e := place(source, at)
		e.Why, e.Fix = "holds a zero byte", "remove it"
		return e
	}
	return nil
}

func parse(source string) (string, error) {
	tree, err := pgquery.ParseToJSON(context.Background(), source)
	var at *pgquery.Error
	if errors.As(err, &at) {
		e := place(source, byteOf(source, at.Cursor-1))
		e.Why = at.Message
		if strings.Contains(at.Message, "syntax error") {
			e.Fix = "it is read as PostgreSQL 17 would"
		}
		return "", e
	}
	return tree, err
}

// byteOf turns the parser's position, which counts characters, into one of bytes.
func byteOf(source string, character int) int {
	n := 0
	for at := range source {
		if n == character {
			return at
		}
		n++
	}
	return len(source)
}

func place(source string, at int) *SyntaxError {
	before := source[:at]
	return &SyntaxError{Line: 1 + strings.Count(before, "\n"), Column: 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])}
}

// blank counts the bytes of white space and comments that s begins with.
func blank(s string) int {
	at := 0
	for at < len(s) {
		switch rest := s[at:]; {
		case strings.ContainsRune(" \t\r\n\f\v", rune(rest[0])):
			at++
		case strings.HasPrefix(rest, "--"):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				return len(s)
			}
			at += end + 1
		case strings.HasPrefix(rest, "/*"):
			at += blockComment(rest)
		default:
			return at
		}
	}
	return at
}

// blockComment is the length of the comment that s begins with; PostgreSQL's may hold others.
func blockComment(s string) int {
	depth := 0
	for at := 0; at < len(s)-1; at++ {
		switch s[at : at+2] {
		case "/*":
			depth++
			at++
		case "*/":
			depth--
			at++
			if depth == 0 {
				return at + 1
			}
		}
	}
	return len(s)
}

// collect notes what a judgement needs to look up.
func (s *Statement) collect(tree expression) {
	seen := map[Name]bool{}
	add := func(n Name) {
		if n.Name != "" && !seen[n] {
			seen[n] = true
			s.names = append(s.names, n)
		}
	}
	visit := func(key string, object map[string]any) {
		if name, ok := object["relname"].(string); ok {
			schema, _ := object["schemaname"].(string)
			add(Name{schema, name})
		}
		if key == "typeName" || key == "TypeName" {
			s.types = append(s.types, nameOf(object["names"]))
		}
	}
	walk(map[string]any{"": tree}, visit)
	for _, n := range s.listed() {
		add(n)
	}
	s.functions, s.operators = callsOf(tree)
}

// listed are the relations that a DROP or a COMMENT names as lists of words.
func (s Statement) listed() []Name {
	var out []Name
	switch n := s.node.(type) {
	case *drop:
		for _, parts := range n.names() {
			out = append(out, relationOf(n.Type, parts))
		}
	case *comment:
		if n.Object.List != nil {
			out = append(out, relationOf(n.Type, texts(n.Object.List.Items)))
		}
	}
	return out
}

// relationOf takes the relation out of an object's name: the last word is the object's own where it belongs to a relation.
func relationOf(object string, parts []string) Name {
	switch object {
	case "OBJECT_COLUMN", "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE", "OBJECT_TABCONSTRAINT":
		parts = parts[:len(parts)-1]
	case "OBJECT_TABLE", "OBJECT_INDEX", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE":
	default:
		return Name{}
	}
	switch len(parts) {
	case 0:
		return Name{}
	case 1:
		return Name{Name: parts[0]}
	}
	return Name{parts[len(parts)-2], parts[len(parts)-1]}
}

// Concurrent tells whether the statement must run outside of a transaction.
func (s Statement) Concurrent() bool {
	switch n := s.node.(type) {
	case *createIndex:
		return n.Concurrent
	case *drop:
		return n.Concurrent
	case *alterTable:
		for _, c := range n.Commands {
			if p := c.Command.Def.Partition; p != nil && p.Concurrent {
				return true
			}
		}
	case *reindex:
		return on(n.Params, "concurrently")
	case *vacuum:
		return n.IsVacuum
	}
	return false
}

// on tells whether an option is given and not switched off.
func on(options []definition, name string) bool {
	for _, o := range options {
		if o.DefElem.Name == name {
			return o.DefElem.Argument == nil || isTrue(o.DefElem.Argument)
		}
	}
	return false
}

func isTrue(arg expression) bool {
	on := false
	walk(map[string]any{"": arg}, func(key string, object map[string]any) {
		switch key {
		case "Boolean":
			on, _ = object["boolval"].(bool)
		case "String":
			v, _ := object["sval"].(string)
			on = v == "true" || v == "on"
		case "Integer":
			v, _ := object["ival"].(float64)
			on = v != 0
		}
	})
	return on
}
