SELECT checkpoints_req AS requested FROM pg_stat_bgwriter
