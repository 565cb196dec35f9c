package queue

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAServerThatAnswersNoWriteIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left atomic.Int64
		touch := newTouch(func() { left.Add(1) })
		after := func(d time.Duration, want int64) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if n := left.Load(); n != want {
				t.Fatalf("left %d times, want %d", n, want)
			}
		}
		touch.asked()
		after(touchPatience-time.Second, 0)
		touch.answered()
		after(time.Hour, 0)

		touch.asked()
		after(touchPatience/2, 0)
		touch.asked() // the first one counts
		after(touchPatience/2+time.Second, 1)

		touch.asked() // the next server gets longer
		after(touchPatience+time.Second, 1)
		after(touchPatience, 2)

		touch.asked()
		touch.forget()
		after(time.Hour, 2)

		touch.answered() // and after an answer as long as the first
		touch.asked()
		after(touchPatience+time.Second, 3)
	})
}
