package store

import (
	"database/sql/driver"
	"encoding/json"
)

// jsonb is a parameter that holds its value as JSON; nil is NULL. It goes out as text, which behind a pooler, where nobody has told the
// driver that the parameter is a jsonb, is read as one all the same.
type jsonb struct{ value any }

// Value implements [driver.Valuer].
func (j jsonb) Value() (driver.Value, error) {
	b, err := json.Marshal(j.value)
	if err != nil || string(b) == "null" {
		return nil, err
	}
	return string(b), nil
}
