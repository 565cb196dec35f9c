CREATE TABLE IF NOT EXISTS "public"."emails" (
	"user_id" bigint NOT NULL,
	"n" integer NOT NULL,
	"token" uuid DEFAULT gen_random_uuid(),
	PRIMARY KEY ("user_id", "n")
);
