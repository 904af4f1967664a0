-- The example's shop: tables of its own, apart from Countersign's. Running this again changes nothing.
create schema if not exists shop;

create table if not exists shop.customers (
  id text primary key,
  name text not null,
  email text not null unique
);

create table if not exists shop.orders (
  id text primary key,
  customer_id text not null references shop.customers (id),
  status text not null check (status in ('processing', 'shipped', 'delivered', 'cancelled')),
  placed_on date not null,
  paid_cents integer not null check (paid_cents >= 0),
  tracking text
);

create table if not exists shop.order_items (
  order_id text not null references shop.orders (id),
  position integer not null,
  description text not null,
  quantity integer not null check (quantity > 0),
  unit_cents integer not null check (unit_cents >= 0),
  primary key (order_id, position)
);

-- One effect per key: a second insert with the same key is the same refund, not another.
create table if not exists shop.refunds (
  id bigint generated always as identity primary key,
  order_id text not null references shop.orders (id),
  amount_cents integer not null check (amount_cents > 0),
  reason text not null,
  idempotency_key text not null unique,
  created_at timestamptz not null default now()
);

create table if not exists shop.mailbox (
  id bigint generated always as identity primary key,
  recipient text not null,
  subject text not null,
  body text not null,
  idempotency_key text not null unique,
  created_at timestamptz not null default now()
);

create table if not exists shop.policies (
  id text primary key,
  title text not null,
  body text not null
);

insert into shop.customers (id, name, email) values
  ('cus_ada', 'Ada Okafor', 'ada@example.com'),
  ('cus_ben', 'Ben Lindqvist', 'ben@example.com'),
  ('cus_chiara', 'Chiara Romano', 'chiara@example.com'),
  ('cus_deniz', 'Deniz Aydin', 'deniz@example.com'),
  ('cus_emi', 'Emi Tanaka', 'emi@example.com'),
  ('cus_farid', 'Farid Haddad', 'farid@example.com')
on conflict do nothing;

insert into shop.orders (id, customer_id, status, placed_on, paid_cents, tracking) values
  ('A-1001', 'cus_ada', 'delivered', '2026-02-03', 4200, 'PX204817'),
  ('A-1002', 'cus_ada', 'delivered', '2026-02-11', 18900, 'PX205533'),
  ('A-1003', 'cus_ada', 'delivered', '2026-01-19', 129000, 'PX201190'),
  ('A-1004', 'cus_ada', 'shipped', '2026-03-01', 6450, 'PX208002'),
  ('A-1005', 'cus_ben', 'delivered', '2026-02-14', 3600, 'PX205871'),
  ('A-1006', 'cus_ben', 'processing', '2026-03-02', 24900, null),
  ('A-1007', 'cus_chiara', 'delivered', '2026-01-28', 9900, 'PX202654'),
  ('A-1008', 'cus_chiara', 'cancelled', '2026-02-20', 0, null),
  ('A-1009', 'cus_deniz', 'shipped', '2026-02-27', 15750, 'PX207715'),
  ('A-1010', 'cus_emi', 'delivered', '2026-02-08', 5400, 'PX205014'),
  ('A-1011', 'cus_emi', 'delivered', '2026-02-22', 74900, 'PX206980'),
  ('A-1012', 'cus_farid', 'processing', '2026-03-03', 1250, null)
on conflict do nothing;

insert into shop.order_items (order_id, position, description, quantity, unit_cents) values
  ('A-1001', 1, 'stoneware mug', 2, 1200),
  ('A-1001', 2, 'filter coffee, 500 g', 1, 1800),
  ('A-1002', 1, 'burr grinder', 1, 18900),
  ('A-1003', 1, 'espresso machine', 1, 129000),
  ('A-1004', 1, 'gooseneck kettle', 1, 6450),
  ('A-1005', 1, 'filter coffee, 500 g', 2, 1800),
  ('A-1006', 1, 'burr grinder, steel', 1, 24900),
  ('A-1007', 1, 'pour-over set', 1, 9900),
  ('A-1008', 1, 'stoneware mug', 1, 1200),
  ('A-1009', 1, 'scale with timer', 1, 8750),
  ('A-1009', 2, 'glass server', 2, 3500),
  ('A-1010', 1, 'filter coffee, 500 g', 3, 1800),
  ('A-1011', 1, 'espresso machine, small', 1, 74900),
  ('A-1012', 1, 'paper filters, 100', 1, 1250)
on conflict do nothing;

insert into shop.policies (id, title, body) values
  ('returns', 'Returns', 'Unused goods can be returned within 30 days of delivery. We pay the return shipping for faulty goods.'),
  ('refunds', 'Refunds', 'Refunds go back to the original means of payment within 5 working days. Larger refunds are checked by a colleague first.'),
  ('shipping', 'Shipping and delivery', 'Orders leave our warehouse within 2 working days. Delivery takes 2 to 5 working days, and is free above $50.'),
  ('warranty', 'Warranty', 'Grinders, kettles and machines have a two-year warranty. Send us the order number and a photo of the fault.'),
  ('privacy', 'Privacy', 'We write to the address that is stored with your account, and give order details to nobody else.'),
  ('cancellation', 'Cancellation', 'An order can be cancelled for free while its status is processing. After that, please return it.')
on conflict do nothing;
