package divergence

import (
	"cmp"
	"slices"
	"strings"
)

// Activity is what was seen of one session or statement, without literals.
type Activity struct {
	Application string `json:"application,omitempty"`
	User        string `json:"user,omitempty"`
	Address     string `json:"address,omitempty"`
	Query       string `json:"query"`
	Seen        int    `json:"seen,omitempty"`  // how often a look at the sessions saw it
	Calls       int64  `json:"calls,omitempty"` // since the entry before, by pg_stat_statements
	Rows        int64  `json:"rows,omitempty"`  // that they wrote
}

// Suspect is somebody who was at work while rows came to diverge: no proof, but where to ask first.
type Suspect = Activity

// mostSuspects are kept with a bucket.
const mostSuspects = 10

// Suspects adds up what was seen and puts first who wrote to one of the tables, then who named one, then whoever wrote.
func Suspects(seen []Activity, tables []string) []Suspect { return ranked(seen, tables, mostSuspects) }

func ranked(seen []Activity, tables []string, most int) []Suspect {
	type key struct{ application, user, address, query string }
	sums := map[key]*Suspect{}
	for _, a := range seen {
		k := key{a.Application, a.User, a.Address, a.Query}
		s := sums[k]
		if s == nil {
			sums[k] = &Suspect{Application: a.Application, User: a.User, Address: a.Address, Query: a.Query}
			s = sums[k]
		}
		s.Seen, s.Calls, s.Rows = s.Seen+a.Seen, s.Calls+a.Calls, s.Rows+a.Rows
	}
	all := []Suspect{}
	for _, s := range sums {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Suspect) int {
		return cmp.Or(suspicion(b.Query, tables)-suspicion(a.Query, tables), cmp.Compare(b.Rows, a.Rows), cmp.Compare(b.Calls, a.Calls), cmp.Compare(b.Seen, a.Seen),
			strings.Compare(a.Application, b.Application), strings.Compare(a.User, b.User), strings.Compare(a.Address, b.Address), strings.Compare(a.Query, b.Query))
	})
	return all[:min(len(all), most)]
}

// suspicion is how likely a statement is to have made rows diverge.
func suspicion(query string, tables []string) (n int) {
	text := strings.ToLower(query)
	names := slices.ContainsFunc(tables, func(t string) bool { return strings.Contains(text, strings.ToLower(t)) })
	verb, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	writes := slices.Contains([]string{"insert", "update", "delete", "merge", "copy", "truncate", "alter", "drop", "with", "do", "call"}, verb)
	switch {
	case names && writes:
		n = 4
	case names:
		n = 3
	case strings.Contains(text, "session_replication_role"):
		n = 3
	case writes:
		n = 2
	case verb != "" && !slices.Contains([]string{"select", "show", "<hidden"}, verb):
		n = 1
	}
	return n
}
