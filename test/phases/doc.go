// Package phases carries whole migrations through their five phases with the real command, a real fleet and live writes: each step before its
// time and in the wrong order, with its process killed at every message that it sends, and with what people may override.
package phases
