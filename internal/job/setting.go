package job

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/backfleet/backfleet/internal/nearest"
)

// setting is one value of a T, addressed by its dotted path. Errors of its functions say "why; what would be right".
type setting[T any] struct {
	path     string
	number   bool   // written without quotes in YAML
	fallback string // its default, as text
	get      func(T) string
	set      func(*T, string) error
	check    func(T) error
	// read takes a value that is not a single one, such as a list; nil for all others. What is wrong goes to the reader.
	read func(r *specReader, n ast.Node, path string, into *T)
}

// settings is every value of a T that a person may write. Parser, defaults, validation and the `set` commands all go by one
// such list, so none of them can forget a field.
type settings[T any] struct {
	all []setting[T]
	// named finds a setting below a name that people choose, such as a replica's; nil where there is none.
	named func(path string) (setting[T], bool)
	// more lists the paths of named settings that are known beforehand.
	more func() []string
	// shown stands for more where people read the list.
	shown []string
}

// at finds the setting of a path.
func (s *settings[T]) at(path string) (setting[T], bool) {
	if i := slices.IndexFunc(s.all, func(f setting[T]) bool { return f.path == path }); i >= 0 {
		return s.all[i], true
	}
	if s.named != nil {
		return s.named(path)
	}
	return setting[T]{}, false
}

// paths lists what at finds.
func (s *settings[T]) paths() []string {
	paths := make([]string, 0, len(s.all))
	for _, f := range s.all {
		paths = append(paths, f.path)
	}
	if s.more != nil {
		paths = append(paths, s.more()...)
	}
	return paths
}

// documented lists the paths for people to read.
func (s *settings[T]) documented() []string {
	paths := make([]string, 0, len(s.all)+len(s.shown))
	for _, f := range s.all {
		paths = append(paths, f.path)
	}
	return append(paths, s.shown...)
}

// children lists the names one step below a path.
func (s *settings[T]) children(path string) []string {
	var names []string
	for _, p := range s.paths() {
		rest, ok := strings.CutPrefix(p, path+".")
		if path == "" {
			rest, ok = p, true
		}
		if name, _, _ := strings.Cut(rest, "."); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// defaults returns a T where every setting has its default.
func (s *settings[T]) defaults() T {
	var v T
	for _, f := range s.all {
		if f.fallback == "" {
			continue
		}
		if err := f.set(&v, f.fallback); err != nil {
			panic("default of " + f.path + " " + err.Error()) // a test sees it first
		}
	}
	return v
}

// refusals checks every setting of v. base is the path of v itself.
func (s *settings[T]) refusals(v T, base string) Refusals {
	var rs Refusals
	for _, f := range s.all {
		if f.check == nil {
			continue
		}
		if err := f.check(v); err != nil {
			rs = append(rs, refuse(join(base, f.path), f.get(v), err))
		}
	}
	return rs
}

// Change is one value's old and new text.
type Change struct {
	Path string `json:"path"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// setAll returns v with values changed, in the order of their paths. Each value is checked by itself; the error is a [Refusals]
// with all that are wrong.
func (s *settings[T]) setAll(v T, values map[string]string) (T, []Change, error) {
	next := v
	var changes []Change
	var rs Refusals
	for _, path := range slices.Sorted(maps.Keys(values)) {
		f, ok := s.at(path)
		if !ok {
			rs = append(rs, Refusal{Field: path, Why: "is not a setting that can change", Fix: s.hint(path)})
			continue
		}
		old, value := f.get(next), strings.TrimSpace(values[path])
		rs = append(rs, f.change(&next, path, value)...)
		changes = append(changes, Change{Path: path, Old: old, New: value})
	}
	if len(rs) > 0 {
		return v, nil, rs
	}
	return next, changes, nil
}

// hint says which path was meant: the nearest name below the part of the path that is right.
func (s *settings[T]) hint(path string) string {
	if below := s.children(path); len(below) > 0 { // right, but not all of it
		for i, name := range below {
			below[i] = join(path, name)
		}
		return "one of " + strings.Join(below, ", ")
	}
	for parent := path; parent != ""; {
		name := parent
		if dot := strings.LastIndexByte(parent, '.'); dot >= 0 {
			parent, name = parent[:dot], parent[dot+1:]
		} else {
			parent = ""
		}
		below := s.children(parent)
		if near := nearest.Name(name, below); near != "" {
			return fmt.Sprintf("did you mean %q?", join(parent, near))
		}
		if len(below) > 0 {
			break
		}
	}
	return nearest.Hint(path, s.documented())
}

// change sets one value from text that was given by itself.
func (s setting[T]) change(v *T, path, value string) Refusals {
	if s.read != nil {
		return readText(s, path, value, v)
	}
	if err := s.set(v, value); err != nil {
		return Refusals{refuse(path, value, err)}
	}
	return nil
}

// refuse splits an error of a setting, "why; fix", into a refusal.
func refuse(path, value string, err error) Refusal {
	why, fix, _ := strings.Cut(err.Error(), "; ")
	return Refusal{Field: path, Value: value, Why: why, Fix: fix}
}

func whole[T any](path, fallback string, least, most int, at func(*T) *int) setting[T] {
	within := func(n int) error {
		if n < least || n > most {
			return fmt.Errorf("is out of bounds; write a whole number from %d to %d", least, most)
		}
		return nil
	}
	return setting[T]{path: path, number: true, fallback: fallback,
		get:   func(v T) string { return strconv.Itoa(*at(&v)) },
		check: func(v T) error { return within(*at(&v)) },
		set: func(v *T, text string) error {
			n, err := strconv.Atoi(text)
			if err != nil {
				return fmt.Errorf("is not a whole number; write one from %d to %d", least, most)
			}
			*at(v) = n
			return within(n)
		}}
}

// bytesCap is a cap in bytes a second, where 0 is none.
func bytesCap[T any](path string, least, most Bytes, at func(*T) *Bytes) setting[T] {
	fix := fmt.Sprintf("write it with its unit, from %s to %s, or 0 for no cap", least, most)
	within := func(b Bytes) error {
		if b != 0 && (b < least || b > most) {
			return fmt.Errorf("is out of bounds; %s", fix)
		}
		return nil
	}
	return setting[T]{path: path, fallback: "0",
		get:   func(v T) string { return at(&v).String() },
		check: func(v T) error { return within(*at(&v)) },
		set: func(v *T, text string) error {
			var b Bytes
			if b.UnmarshalText([]byte(text)) != nil {
				return fmt.Errorf("is not a number of bytes; %s", fix)
			}
			*at(v) = b
			return within(b)
		}}
}

func span[T any](path, fallback string, least, most time.Duration, at func(*T) *Duration) setting[T] {
	within := func(d Duration) error {
		if d.D() < least || d.D() > most {
			return fmt.Errorf("is out of bounds; write a duration from %s to %s", Duration(least), Duration(most))
		}
		return nil
	}
	return setting[T]{path: path, fallback: fallback,
		get:   func(v T) string { return at(&v).String() },
		check: func(v T) error { return within(*at(&v)) },
		set: func(v *T, text string) error {
			var d Duration
			if d.UnmarshalText([]byte(text)) != nil {
				return fmt.Errorf("is not a duration; write one with its unit, like 25ms, 1s or 10m")
			}
			*at(v) = d
			return within(d)
		}}
}

func choice[T any](path, fallback string, of []string, at func(*T) *string) setting[T] {
	within := func(s string) error {
		if !slices.Contains(of, s) {
			return fmt.Errorf("is not known; write one of %s", strings.Join(of, ", "))
		}
		return nil
	}
	return setting[T]{path: path, fallback: fallback,
		get:   func(v T) string { return *at(&v) },
		check: func(v T) error { return within(*at(&v)) },
		set: func(v *T, text string) error {
			*at(v) = text
			return within(text)
		}}
}
