package main

import "context"

func fenceCost(ctx context.Context, b *bench) error { return nil }
