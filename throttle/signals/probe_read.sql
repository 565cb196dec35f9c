SELECT ts FROM backfleet.heartbeat WHERE id
