ALTER TABLE "s;p"."we""ird" ADD COLUMN IF NOT EXISTS "a""b; drop table x" numeric(10,2) DEFAULT 'it''s; --';
