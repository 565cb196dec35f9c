package api

import (
	"encoding/json"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

// Job is a job without its progress, as every change answers it.
type Job struct {
	ID        job.ID     `json:"id"`
	Name      string     `json:"name"`
	Database  string     `json:"database"`
	Table     string     `json:"table"`
	State     job.State  `json:"state"`
	Reason    string     `json:"reason,omitempty"`
	Revision  int64      `json:"revision"`
	SpecHash  string     `json:"spec_hash"`
	Limits    job.Limits `json:"limits"`
	By        string     `json:"submitted_by"`
	Submitted time.Time  `json:"submitted_at"`
	Ended     *time.Time `json:"ended_at,omitempty"`
	PlanHash  string     `json:"plan_hash,omitempty"`   // what an approval is bound to
	Approved  string     `json:"approved_by,omitempty"` // the token that approved it
}

func viewOf(j job.Job) Job {
	v := Job{
		ID: j.ID, Name: j.Name, Database: j.Database, Table: j.Spec.Table, State: j.State, Reason: j.Reason,
		Revision: j.Revision, SpecHash: j.SpecHash, Limits: j.Limits, By: j.By, Submitted: j.Submitted, PlanHash: j.PlanHash, Approved: j.ApprovedAs,
	}
	if !j.Ended.IsZero() {
		v.Ended = &j.Ended
	}
	return v
}

// Me is the answer of GET /v1/me: whose token the request holds.
type Me struct {
	Name string `json:"name"`
	Role string `json:"role" enum:"viewer,operator,admin"`
}

// May reports whether the token may do what needs a role.
func (m Me) May(role Role) bool { return roles[m.Role] >= role }

// JobLine is one job of a list. The progress of an ended job is in its report.
type JobLine struct {
	Job
	Progress *Progress `json:"progress,omitempty"`
}

// Progress is the part of a status that a list shows.
type Progress struct {
	Fraction float64  `json:"fraction"`
	Planned  bool     `json:"planned"`
	Rows     int64    `json:"rows_written"`
	Live     bool     `json:"live"` // false: Rate and ETA are not known here
	Rate     float64  `json:"rows_per_second"`
	ETA      *job.ETA `json:"eta,omitempty"`
	Limiting string   `json:"limiting,omitempty"`
}

// JobList is the answer of GET /v1/jobs. A database that does not answer is named instead of hiding the others.
type JobList struct {
	Jobs        []JobLine     `json:"jobs"`
	Next        string        `json:"next,omitempty"` // after which the next page begins; empty at the end
	Unreachable []Unreachable `json:"unreachable,omitempty"`
}

// Unreachable is a database that did not answer.
type Unreachable struct {
	Database string `json:"database"`
	Error    string `json:"error"`
}

// Submitted is the answer of POST /v1/jobs. Created is false when the job was there already, with the same spec.
type Submitted struct {
	Job     Job  `json:"job"`
	Created bool `json:"created"`
	// Warnings are what would hold the job back from its first moment on.
	Warnings []string `json:"warnings,omitempty"`
}

// Limited is the answer of PATCH /v1/jobs/{job}/limits.
type Limited struct {
	Job     Job          `json:"job"`
	Changes []job.Change `json:"changes"`
	// Warnings are what the change holds back at once.
	Warnings []string `json:"warnings,omitempty"`
}

// Skip names what is taken out of a job: a range or a row, never both.
type Skip struct {
	Range    *int     `json:"range,omitempty" minimum:"0" doc:"Index of the range to take out."`
	Key      []string `json:"key,omitempty" doc:"Key of the row to take out, one text a key column."`
	Relation string   `json:"relation,omitempty" doc:"The leaf partition of that row; left out, the key is skipped in each."`
	Reason   string   `json:"reason" minLength:"1" maxLength:"500" doc:"Why; it stands in the audit log and in the report."`
}

// QuarantineList is the answer of GET /v1/jobs/{job}/quarantine.
type QuarantineList struct {
	Rows []job.Quarantined `json:"rows"`
	Next string            `json:"next,omitempty"` // after which the next page begins; empty at the end
}

// RangeList is the answer of GET /v1/jobs/{job}/ranges, in the order of their index.
type RangeList struct {
	Ranges []job.RangeView `json:"ranges"`
	Next   string          `json:"next,omitempty"` // after which the next page begins; empty at the end
}

// SpecView is the answer of GET /v1/jobs/{job}/spec.
type SpecView struct {
	Spec     job.Spec   `json:"spec"` // as it was submitted
	SpecHash string     `json:"spec_hash"`
	Limits   job.Limits `json:"limits"` // in force now
}

// PlanView is the answer of GET /v1/jobs/{job}/plan.
type PlanView struct {
	Plan json.RawMessage `json:"plan"` // as POST /v1/plans answers it
	Hash string          `json:"plan_hash"`
}

// EventList is the answer of GET /v1/jobs/{job}/events, the newest first.
type EventList struct {
	Events []job.Event `json:"events"`
	Next   string      `json:"next,omitempty"` // after which the next page begins; empty at the end
}

// Held is the answer of POST /v1/databases/{database}/hold.
type Held struct {
	Database string    `json:"database"`
	Until    time.Time `json:"until"`
	Reason   string    `json:"reason,omitempty"`
}

// Released is the answer of DELETE /v1/databases/{database}/hold.
type Released struct {
	Database string `json:"database"`
}

// DatabaseList is the answer of GET /v1/databases.
type DatabaseList struct {
	Databases []DatabaseHealth `json:"databases"`
}

// DatabaseHealth sums up one target database.
type DatabaseHealth struct {
	Name      string     `json:"name"`
	Reachable bool       `json:"reachable"`
	Error     string     `json:"error,omitempty"`
	Server    string     `json:"server_version,omitempty"`
	Standby   bool       `json:"standby"`                  // true: this DSN is not the primary's
	Ledger    int        `json:"ledger_version,omitempty"` // 0: there is none yet
	Leader    *Leader    `json:"leader,omitempty"`         // nil: nobody leads
	Brake     *job.Brake `json:"brake,omitempty"`          // nil: no hold stands
	Approval  bool       `json:"approval"`                 // a job begins only after another person's approval
	// Fleet is what the leader knows; nil where another process leads, and then ask that one.
	Fleet *Fleet `json:"fleet,omitempty"`
}

// Fleet is what the coordinator that leads a database knows of the fleet that serves it.
type Fleet struct {
	Workers   []Worker           `json:"workers"` // heard lately, by name
	Slots     int                `json:"slots"`   // theirs
	Lag       map[string]job.Lag `json:"lag"`     // by replica
	LagTarget job.Duration       `json:"lag_target,omitempty"`
	HeldSince *time.Time         `json:"held_since,omitempty"` // nil: batches may start
	Budget    *Budget            `json:"budget,omitempty"`     // nil: nothing was decided lately
}

// Budget is what a governor allows its fleet now.
type Budget struct {
	Hold    bool         `json:"hold"`                      // no batch may start
	Rate    float64      `json:"rows_per_second,omitempty"` // 0: without limit, or held
	Leases  int          `json:"leases"`
	Reasons []job.Reason `json:"reasons,omitempty"` // why it is not more; the binding one first
}

// Worker is one worker of a fleet.
type Worker struct {
	Worker string `json:"worker"`
	Build  string `json:"build"`
	Slots  int    `json:"slots"`
	Busy   int    `json:"busy"`   // slots that carry a range, of any database
	Leases int    `json:"leases"` // in this database
}

func fleetOf(f job.Fleet) *Fleet {
	v := &Fleet{Workers: make([]Worker, len(f.Members)), Slots: f.Slots, Lag: f.Lag, LagTarget: f.LagTarget}
	leases := map[string]int{}
	for _, l := range f.Share.Leases {
		leases[l.Worker]++
	}
	for i, m := range f.Members {
		v.Workers[i] = Worker{Worker: m.Worker, Build: m.Build, Slots: m.Slots, Busy: len(m.Holding), Leases: leases[m.Worker]}
	}
	if !f.HeldSince.IsZero() {
		v.HeldSince = &f.HeldSince
	}
	if f.Share.Decided {
		v.Budget = &Budget{Hold: f.Share.Hold, Rate: f.Share.Rate, Leases: len(f.Share.Leases), Reasons: f.Share.Reasons}
	}
	return v
}

// Leader is the coordinator that governs a database.
type Leader struct {
	Owner string `json:"owner"`
	Epoch int64  `json:"epoch"`
}
