package main

import "context"

func scale(ctx context.Context, b *bench) error { return nil }
