package main

import "fmt"

// shape is what tells a table from the usual one, whose key is a dense bigint and whose rows are some 150 bytes.
type shape struct {
	columns    string // of the key, as CREATE TABLE has them; empty: "id bigint"
	key        string // their names
	keyOf      string // an INSERT's expressions of them for row i
	fillfactor int    // of the heap; 0: 100
	wide       bool   // each row has 2.2 kB more, out of line
}

var (
	uuidKey      = shape{columns: "id uuid", key: "id", keyOf: "md5(i::text)::uuid"}
	compositeKey = shape{columns: "tenant int, id bigint", key: "tenant, id", keyOf: "i / 5000, i"}
	// Nine rows in ten lie side by side at the beginning of the key space, the rest in ever other distances over a thousand times of it.
	gappyKey  = shape{columns: "id bigint", key: "id", keyOf: "CASE WHEN i % 10 > 0 THEN i ELSE 1000000000 + i * 10000 + i * 7919 % 9973 END"}
	roomy     = shape{fillfactor: 90}
	widerRows = shape{wide: true}
)

// keyColumns are the names of the key's columns, comma-separated.
func (s shape) keyColumns() string {
	if s.key == "" {
		return "id"
	}
	return s.key
}

// statements make the table.
func (t table) statements() []string {
	columns, keyOf := t.columns, t.keyOf
	if columns == "" {
		columns, keyOf = "id bigint", "i"
	}
	with, more, moreOf := "", "", ""
	if t.fillfactor > 0 {
		with = fmt.Sprintf(" WITH (fillfactor = %d)", t.fillfactor)
	}
	if t.wide {
		more = ", document text"
		moreOf = ", (SELECT string_agg(md5(i::text || n), '') FROM generate_series(1, 70) n)"
	}
	made := []string{
		fmt.Sprintf(`CREATE TABLE users (%s, email text NOT NULL, name text NOT NULL, status int NOT NULL,
			created_at timestamptz NOT NULL, visits int NOT NULL, note text NOT NULL, email_norm text%s, PRIMARY KEY (%s))%s`,
			columns, more, t.keyColumns(), with),
		fmt.Sprintf(`INSERT INTO users SELECT %s, 'User.' || substr(md5(i::text), 1, 8) || '@Example.com', 'name of user ' || i, i %% 7,
			timestamptz '2020-01-01' + i * interval '1 minute', 0, 'note ' || md5((i * 7)::text), NULL%s
			FROM generate_series(1::bigint, %d) AS i`, keyOf, moreOf, t.rows),
	}
	if t.wide {
		made = []string{made[0], "ALTER TABLE users ALTER document SET STORAGE EXTERNAL", made[1]}
	}
	if t.indexed {
		made = append(made, "CREATE INDEX ON users (email)", "CREATE INDEX ON users (created_at)", "CREATE INDEX ON users (status, name)")
	}
	return made
}
