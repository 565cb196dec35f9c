package preflight

import "github.com/backfleet/backfleet/internal/sqltext"

// calls lists the functions that an expression names, each by its last name: a name before a parenthesis. Those called by
// their schema come apart.
func calls(tokens []sqltext.Token) (bare, qualified []string) {
	for i := 1; i < len(tokens); i++ {
		switch {
		case tokens[i].Text != "(" || !tokens[i-1].Name:
		case i > 1 && tokens[i-2].Text == ".":
			qualified = append(qualified, tokens[i-1].Text)
		default:
			bare = append(bare, tokens[i-1].Text)
		}
	}
	return bare, qualified
}

// hasSubquery reports whether an expression holds a SELECT of its own.
func hasSubquery(tokens []sqltext.Token) bool {
	for _, t := range tokens {
		if t.Name && !t.Quoted && (t.Text == "select" || t.Text == "table" || t.Text == "values") {
			return true
		}
	}
	return false
}

// readsWholeRow reports whether an expression names the table itself as a value, as to_jsonb(users) and users.* do.
func readsWholeRow(tokens []sqltext.Token, alias string) bool {
	for i, t := range tokens {
		if !t.Name || t.Text != alias || i > 0 && tokens[i-1].Text == "." {
			continue
		}
		if i+1 == len(tokens) || tokens[i+1].Text != "." || i+2 < len(tokens) && tokens[i+2].Text == "*" {
			return true
		}
	}
	return false
}
