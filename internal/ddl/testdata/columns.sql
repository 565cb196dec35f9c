ALTER TABLE "public"."users" ADD COLUMN IF NOT EXISTS "email_norm" text;
ALTER TABLE "public"."users" ADD COLUMN IF NOT EXISTS "tries" integer NOT NULL DEFAULT 0;
ALTER TABLE "public"."users" ADD COLUMN IF NOT EXISTS "token" uuid;
ALTER TABLE "public"."users" ALTER COLUMN "token" SET DEFAULT gen_random_uuid();
ALTER TABLE "public"."users" ADD COLUMN IF NOT EXISTS "at" timestamptz DEFAULT now();
