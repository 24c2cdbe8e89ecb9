package web_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hygeia-health/hygeia/platform/web"
)

func TestBudget(t *testing.T) {
	const mib = 1 << 20
	synctest.Test(t, func(t *testing.T) {
		b := web.NewBudget(4 * mib)
		ctx := t.Context()
		if n, err := b.Enter(ctx, 1000); n != 0 || err != nil {
			t.Errorf("a small body: %d, %v", n, err)
		}
		whole, err := b.Enter(ctx, 100*mib) // more than there is: alone
		if whole != 4*mib || err != nil {
			t.Fatalf("a huge body: %d, %v", whole, err)
		}
		var mu sync.Mutex
		var order []string
		enter := func(ctx context.Context, name string, n int64) {
			go func() {
				if _, err := b.Enter(ctx, n); err != nil {
					name += " " + err.Error()
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
			}()
			synctest.Wait()
		}
		gone, cancel := context.WithCancel(ctx)
		enter(gone, "first", 3*mib)
		enter(ctx, "second", 2*mib)
		enter(ctx, "third", 2*mib)
		enter(ctx, "fourth", mib)
		cancel()
		synctest.Wait()
		b.Leave(whole)
		synctest.Wait()
		if len(order) != 3 || order[0] != "first context canceled" {
			t.Errorf("%q", order)
		}
		b.Leave(2 * mib)
		synctest.Wait()
		if len(order) != 4 || order[3] != "fourth" {
			t.Errorf("%q", order)
		}
		b.Leave(2 * mib)
		b.Leave(mib)
		if n, err := b.Enter(ctx, 4*mib); n != 4*mib || err != nil {
			t.Errorf("everything was given back: %d, %v", n, err)
		}
		dead, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := b.Enter(dead, mib); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	var none *web.Budget
	if n, err := none.Enter(t.Context(), mib); n != 0 || err != nil {
		t.Errorf("no budget: %d, %v", n, err)
	}
	none.Leave(0)
}
