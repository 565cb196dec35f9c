package queue

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAServerThatAnswersNoWriteIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 0
		touch := newTouch(func() { left++ })
		after := func(d time.Duration, want int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if left != want {
				t.Fatalf("left %d times, want %d", left, want)
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
