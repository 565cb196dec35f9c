package job

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/backfleet/backfleet/internal/nearest"
)

// maxSpec bounds a spec file in bytes; the YAML library takes quadratic time on hostile nesting.
const maxSpec = 128 << 10

// specFields are the fields at the top of a spec, in the order in which they are documented.
var specFields = []string{"name", "database", "table", "set", "statement", "alias", "where", "key", "order", "check", "late_rows", "rows_per_range",
	"weight", "workers", "batch", "throttle", "on_error", "verify"}

// ParseSpec reads a job file, applies the defaults and validates what can be validated without the database. It is strict: an
// unknown field, a field given twice and a value of the wrong type are errors. JSON is read too, as the YAML that it is.
// Anchors, aliases, tags and a second document are refused. file names the source in errors; it is not opened. The error is
// a [Refusals] with one line for each thing that is wrong.
func ParseSpec(text []byte, file string) (Spec, error) {
	r := specReader{file: file, lines: map[string]int{}, spec: Spec{RowsPerRange: DefaultRowsPerRange, Limits: defaultLimits()}}
	root, err := document(text)
	if err != nil {
		return Spec{}, Refusals{r.syntax(err)}
	}
	r.top(root)
	if len(r.refused) > 0 {
		return Spec{}, r.refused
	}
	spec := r.spec.WithDefaults()
	rs := spec.refusals()
	for i := range rs {
		rs[i].Where = r.place(r.lines[rs[i].Field])
	}
	if len(rs) > 0 {
		return Spec{}, rs
	}
	return spec, nil
}

// document returns the one mapping that a job file is.
func document(text []byte) (*ast.MappingNode, error) {
	body, err := parseYAML(text)
	if err != nil {
		return nil, err
	}
	root, ok := body.(*ast.MappingNode)
	if !ok {
		return nil, fmt.Errorf("is %s, not fields with values; begin with the job's name", kind(body))
	}
	return root, nil
}

// maxNesting is how deep brackets may nest. The time of the YAML library grows with the square of it, to minutes for a file that is
// small enough.
const maxNesting = 100

// nesting is how deep the brackets of a text nest at most, those in quotes and comments too.
func nesting(text []byte) (most int) {
	depth := 0
	for _, b := range text {
		switch b {
		case '[', '{':
			depth++
			most = max(most, depth)
		case ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return most
}

// parseYAML returns what the one document in text holds.
func parseYAML(text []byte) (body ast.Node, err error) {
	switch {
	case len(text) > maxSpec:
		return nil, fmt.Errorf("is longer than %d bytes", maxSpec)
	case !utf8.Valid(text):
		return nil, errors.New("is not UTF-8 text")
	case nesting(text) > maxNesting:
		return nil, fmt.Errorf("nests brackets more than %d deep", maxNesting)
	}
	defer func() { // the YAML library has panicked on malformed input before; a bad file must stay one line
		if p := recover(); p != nil {
			body, err = nil, errors.New("is not valid YAML")
		}
	}()
	f, err := parser.ParseBytes(bytes.TrimPrefix(text, []byte("\ufeff")), 0)
	if err != nil {
		return nil, err
	}
	var bodies []ast.Node
	for _, d := range f.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return nil, errors.New("is empty")
	case 1:
		return bodies[0], nil
	}
	return nil, errors.New("holds several documents; write one job a file")
}

// readText reads the value of one setting that was given by itself, as in `backfleet set`.
func readText[T any](s setting[T], path, text string, into *T) Refusals {
	r := specReader{lines: map[string]int{}}
	n, err := parseYAML([]byte(text))
	if err != nil {
		ref := r.syntax(err)
		return Refusals{{Field: path, Why: strings.TrimPrefix(ref.Why, "the file "), Fix: "write it in one line, as in a job file"}}
	}
	s.read(&r, n, path, into)
	for i := range r.refused {
		r.refused[i].Where = "" // a line of an argument says nothing
	}
	return r.refused
}

// specReader walks a job file once and gathers everything that is wrong with it.
type specReader struct {
	file    string
	spec    Spec
	lines   map[string]int // where each path was given
	refused Refusals
}

func (r *specReader) place(line int) string {
	if line == 0 {
		return r.file
	}
	return strings.TrimPrefix(r.file+":"+strconv.Itoa(line), ":")
}

func (r *specReader) refuse(n ast.Node, field, value, why, fix string) {
	r.refused = append(r.refused, Refusal{Where: r.place(line(n)), Field: field, Value: value, Why: why, Fix: fix})
}

// syntax turns an error of the YAML library, which spans several lines, into one line.
func (r *specReader) syntax(err error) Refusal {
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		why, fix, _ := strings.Cut(err.Error(), "; ")
		return Refusal{Where: r.file, Why: "the file " + why, Fix: fix}
	}
	ref := Refusal{Where: r.place(at.GetToken().Position.Line), Why: "not valid YAML: " + at.GetMessage()}
	if strings.Contains(ref.Why, "mapping") || strings.Contains(ref.Why, "map") {
		ref.Fix = "quote an expression that holds ': ' or ' #', or write it as a block after |"
	}
	return ref
}

func (r *specReader) top(root *ast.MappingNode) {
	r.each(root, "", func(name string, v ast.Node) {
		texts := map[string]*string{"name": &r.spec.Name, "database": &r.spec.Database, "table": &r.spec.Table,
			"statement": &r.spec.Statement, "alias": &r.spec.Alias, "where": &r.spec.Where, "check": &r.spec.Check, "late_rows": &r.spec.LateRows,
			"order": (*string)(&r.spec.Order)}
		switch into, isText := texts[name]; {
		case isText:
			r.text(v, name, into)
		case name == "set":
			r.set(v)
		case name == "key":
			r.key(v)
		case name == "rows_per_range":
			r.rowsPerRange(v)
		case slices.Contains(specFields, name):
			readSetting(r, v, &limits, "", name, &r.spec.Limits)
		default:
			r.refuse(v, name, "", "is not a field of a spec", nearest.Hint(name, specFields))
		}
	})
}

// each calls f for every field of a mapping, once.
func (r *specReader) each(n ast.Node, path string, f func(name string, v ast.Node)) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		r.refuse(n, path, "", "is "+kind(n)+", not fields with values", "write it as "+path+": {...}")
		return
	}
	seen := map[string]bool{}
	for _, mv := range m.Values {
		name, ok := literal(mv.Key)
		switch {
		case !ok:
			r.refuse(mv.Key, path, "", "holds a name that is "+kind(mv.Key), "write a plain name")
		case seen[name]:
			r.refuse(mv.Key, join(path, name), "", "is given twice", "write it once")
		default:
			seen[name] = true
			r.lines[join(path, name)] = line(mv.Key)
			f(name, mv.Value)
		}
	}
}

func (r *specReader) text(n ast.Node, path string, into *string) {
	s, ok := literal(n)
	if _, null := n.(*ast.NullNode); !ok || null {
		r.refuse(n, path, "", "is "+kind(n)+", not text", "write text, or leave the field out")
		return
	}
	if *into = strings.TrimSpace(s); *into == "" {
		r.refuse(n, path, "", "is empty", "write text, or leave the field out")
	}
}

// set reads column: expression. A number, a boolean and a written-out null are the SQL of the same spelling.
func (r *specReader) set(n ast.Node) {
	r.spec.Set = map[string]string{}
	r.each(n, "set", func(column string, v ast.Node) {
		s, ok := literal(v)
		if !ok || strings.TrimSpace(s) == "" || s == "~" {
			r.refuse(v, "set."+column, "", "is "+kind(v)+", not a SQL expression", "write text like lower(email), or NULL")
			return
		}
		r.spec.Set[column] = strings.TrimSpace(s)
	})
}

func (r *specReader) key(n ast.Node) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		r.refuse(n, "key", "", "is "+kind(n)+", not a list", "write it as key: [id]")
		return
	}
	if len(list.Values) == 0 {
		r.refuse(n, "key", "", "is empty", "write key: [id], or leave it out")
	}
	for _, v := range list.Values {
		s, ok := literal(v)
		if !ok {
			r.refuse(v, "key", "", "holds "+kind(v)+", not a column's name", "write it as key: [id]")
			continue
		}
		r.spec.Key = append(r.spec.Key, s)
	}
}

func (r *specReader) rowsPerRange(n ast.Node) {
	if s, ok := r.scalar(n, "rows_per_range", true); ok {
		v, err := strconv.Atoi(s)
		if err != nil {
			r.refuse(n, "rows_per_range", s, "is not a whole number", "write one from 1 to "+strconv.Itoa(maxRowsPerRange))
		}
		r.spec.RowsPerRange = v
	}
}

// readSetting reads the setting of a path into v, or the fields below it. base is the path of v itself.
func readSetting[T any](r *specReader, n ast.Node, of *settings[T], base, path string, v *T) {
	s, found := of.at(path)
	full := join(base, path)
	below := of.children(path)
	if _, mapping := n.(*ast.MappingNode); !found || mapping && len(below) > 0 {
		r.each(n, full, func(name string, below ast.Node) { readField(r, below, of, base, join(path, name), v) })
		return
	}
	if s.read != nil {
		s.read(r, n, full, v)
		return
	}
	if text, ok := r.scalar(n, full, s.number); ok {
		if err := s.set(v, text); err != nil {
			ref := refuse(full, text, err)
			r.refuse(n, full, text, ref.Why, ref.Fix)
		}
	}
}

// readField is readSetting for a path that a person wrote, and so may be none.
func readField[T any](r *specReader, n ast.Node, of *settings[T], base, path string, v *T) {
	parent, name := "", path
	if dot := strings.LastIndexByte(path, '.'); dot >= 0 {
		parent, name = path[:dot], path[dot+1:]
	}
	below := of.children(parent)
	if _, found := of.at(path); !found && !slices.Contains(below, name) {
		r.refuse(n, join(base, path), "", "is not a field of "+join(base, parent), nearest.Hint(name, below))
		return
	}
	readSetting(r, n, of, base, path, v)
}

func (r *specReader) scalar(n ast.Node, path string, number bool) (string, bool) {
	s, ok := literal(n)
	_, quoted := n.(*ast.StringNode)
	switch _, null := n.(*ast.NullNode); {
	case !ok || null:
		r.refuse(n, path, "", "is "+kind(n)+", not a single value", "write a value, or leave the field out")
		return "", false
	case number && quoted && s != "":
		if _, err := strconv.Atoi(s); err == nil {
			r.refuse(n, path, s, "is text, not a number", "write it without quotes")
			return "", false
		}
	}
	return s, true
}

// literal returns a scalar as it is written, so that 1.50 and 0x10 stay what their author meant.
func literal(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		if t := n.GetToken(); t != nil && t.Type != token.ImplicitNullType { // "a:" says nothing; "a: null" says NULL
			return t.Value, true
		}
	}
	return "", false
}

// kind names what a node is to a person.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "empty"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias"
	case *ast.TagNode:
		return "a tagged value"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "a boolean"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	}
	return "of no known kind"
}

func line(n ast.Node) int {
	if n == nil {
		return 0
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

func join(path, name string) string { return strings.Trim(path+"."+name, ".") }
