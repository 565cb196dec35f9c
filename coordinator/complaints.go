package coordinator

import (
	"sync"
	"time"
)

// complainEvery is how often the same complaint is logged at most. The loops tick many times a second, and the text of an error may differ
// each time, if only by a port.
const complainEvery = 5 * time.Second

// complaints remembers when each was last made.
type complaints struct {
	mu   sync.Mutex
	made map[string]time.Time
}

// due says whether it is time for this one, and takes it as made.
func (c *complaints) due(what string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.made[what]; ok && now.Sub(last) < complainEvery {
		return false
	}
	if c.made == nil {
		c.made = map[string]time.Time{}
	}
	c.made[what] = now
	return true
}
