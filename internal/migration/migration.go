package migration

import "time"

// Migration is one migration as the ledger of its database holds it.
type Migration struct {
	Spec      Spec      `json:"spec"`
	Facts     Facts     `json:"facts"`
	Revision  int64     `json:"revision"` // raised by every change
	StartedBy string    `json:"started_by"`
	StartedAt time.Time `json:"started_at"`
}

// Phase is where it stands, and since when.
func (m Migration) Phase() (p Phase, since time.Time) {
	return m.Facts.Phase(), m.Facts.Since(m.StartedAt)
}

// Entry is one line of its audit log.
type Entry struct {
	ID     int64          `json:"id"`
	At     time.Time      `json:"at"`
	By     string         `json:"by"`
	Action string         `json:"action"`
	Detail map[string]any `json:"detail,omitempty"`
}
