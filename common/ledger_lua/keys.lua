#!lua name=@LIBRARY@
--[[
The ledger: all allocations and free capacities, and the queue. The one place that decides.

One Redis Functions library, put together from the files of this directory in the order that ledger.py names;
Python puts a name made from their text in the place of the library's name, so that old and new processes run
side by side. KEYS[1] of every call is the prefix P; the other keys are built from it (so not for Redis Cluster).
Amounts: CPU in milli, RAM and storage in MiB. Times are ms since the epoch by this server's clock, never a host's.

A function checks all that it was given before it writes: an error half-way would leave what was written.

Keys, their types and meaning
  P:env:{id}           hash    the record of an environment
      name owner created       as submitted
      shape                    cpu:ram:storage:gpus:gpu_mib:gpu_model:system, what it needs; system is "os version language
                               version", or not there: any
      priority score           its place: (9 - priority) * 2^49 + start tag; lower is earlier
      cost                     what it adds to its owner's virtual time
      lifetime                 ms, 0 is none
      state progress phase message reason
      host gpus token          of its allocation; gpus is a comma-separated list of UUIDs, token 0 is none
      pin                      the host that holds its storage; "" before it ran or where it has none
      attempt                  1, and 1 more each time its making was broken off; one that was only claimed had not begun
      since                    when it last came to wait
      parked                   1: over its owner's quota, so in P:parked and not in the queue
      reserved                 the host that drains for it, "" is none
      request                  its owner's idempotency key, "" is none
      origin                   id of the HTTP request that submitted it, for logs; "" is unknown
      by                       request id of the last change that a host made, for retries
      event                    id of its last event: when it last changed, and which version this is
      started expires          when it last came to run, when its lifetime ends; "" is not yet
  P:contract:{id}      string  what was submitted, as JSON
  P:events:{id}        stream  its history: s p ph m r h = state progress phase message reason host
  P:envs, P:envs:{o}   zset    ids of all, of an owner; scores 0, ids sort by time
  P:request:{o}:{k}    string  "id digest" of the submit under an owner's idempotency key, as long as the record of its
                               environment is kept
  P:ended              zset    id → when the record of a failed or deleted environment goes
  P:lifetimes          zset    id → when its lifetime ends

  P:queue:{shape}      zset    id → score of those that wait for any host
  P:shapes             zset    shape → score of its head, for non-empty queues
  P:pinned:{host}      zset    id → score of those that wait for the host with their storage
  P:parked:{owner}     zset    "id need" → score of those that wait for their owner to hold less
  P:parked             hash    owners of whom somebody is there → 1: more may leave, the next expire goes on
  P:queued             string  counts additions to the queue
  P:missed:{host}      string  "epoch n": this process found nothing that fits when P:queued was n, and nothing has
                               changed on the host since, so until P:queued changes there is nothing for it
  P:ledger             hash    token: the last one or epoch; at least the time in µs, so that a restored snapshot never
                               issues one twice
                               v:{priority} virtual time, f:{priority}:{owner} an owner's last finish tag,
                               u:{owner} what the owner's allocations hold, q:{owner} and q:* quotas; the last
                               two as environments|cpu|ram|gpus|storage, in a quota "" is no limit
                               swept: when the last expire was; patient: until when no host is given up
                               scanned: how far the search for finish tags that say nothing any more has come
                               looked: how many shapes the last search for starving heads had come to
  P:config             hash    starve_ms defer_ms keep_ms give_up_ms where they differ from the constants below

  P:host:{name}        hash
      machine instance epoch   who it is; the epoch rises with every process, and fences the one before
      lease                    ms of silence after which it counts as lost
      state drain              ready or lost; 1: takes nothing new
      inventory                what it said that it has, as JSON
      kind                     of that, what decides about room: cpu|ram|storage|mib:model=count;...|os version language
                               version version...;... and nothing at the end where it does not say what it offers
      listed                   UUIDs of all its GPUs, sick ones too, comma-separated
      gpus                     those that it may give, each uuid|mib|island|parent|model;
      foreign                  1: some are not its to give, because another host has them
      gpu_cpu                  CPU that falls to one GPU
      free_cpu free_ram free_storage free_gpus
      free                     of gpus those that are free
      over                     1: more is allocated than there is
      open                     1: ready, not draining, not over: it may take something
      classes                  classes of its free GPUs, each {mib}|{model};
      reserved                 the environment that it drains for, "" is none
      pinned                   0: nobody waits in P:pinned
      claim_by claim_id        the last claim, for retries; the ids comma-separated
  P:hosts              zset    host → when its lease ends; once it is lost, the same with a minus
  P:allocs:{host}      hash    id → token|cpu|ram|storage|uuid,uuid
  P:gpus               hash    UUID → the one host that may give it
  P:reserved           hash    id → the host that drains for it
  P:wake:{host}        list    at most one element; the host blocks on it
  P:celery:host.{host} list    Celery's: messages that the worker of a host has not received yet
  P:room:cpu           zset    open hosts without free GPUs → free CPU
  P:room:gpu           zset    open hosts with free GPUs → free CPU beyond what falls to these
  P:room:{mib}|{model} zset    open hosts with free GPUs of a class → how many
  P:most:cpu P:most:ram P:most:storage
                       zset    every host → its CPU, RAM, storage in all
  P:most:{mib}|{model} zset    hosts with GPUs of a class → how many in all
  P:classes            set     GPU classes of the hosts, {mib}|{model}
  P:swept              string  there while the last expire is recent
  P:feed               pub/sub {"env", "id"} of every event

Errors begin with one word: NOTFOUND ILLEGAL STALE FENCED TAKEN CONFLICT CHANGED BADARG NEVER.
]]

local MAX_ATTEMPTS = 3
local KEEP_MS = 7 * 86400 * 1000 -- how long the record of what ended is kept
local STARVE_MS = 10 * 60 * 1000 -- a head that waited this long gets a host that drains for it
local DEFER_MS = 5 * 1000        -- this long a host leaves an environment to another that fits it better
local WAKE_CANDIDATES = 8        -- hosts that are looked at from either end of an index
local PASS_ON_SHAPES = 8         -- heads for which a host that found nothing wakes another
local BACKFILL_DEPTH = 16        -- of one shape that are looked at while a host drains
local AWAY_MS = 40 * 1000        -- where nobody swept for this long Redis was away: hosts get the same time to be heard
local PARKS_A_CLAIM = 32
local CLAIMS_A_CALL = 64
local TAGS_A_CALL = 500
local PARKED_A_CALL = 500
local RESERVE_SHAPES = 256       -- heads that one expire looks at
local RESERVE_HOSTS = 32         -- hosts of which it chooses one to drain
local RESERVE_A_CALL = 4
local RESERVE_LOOKS = 2000       -- hosts that one expire looks at, for all heads together
local RESERVE_SHARE = 8          -- of so many hosts at most one drains, and one more
local HELD_BY = 50
local PRIORITY_STEP = 2 ^ 49
local LARGEST = 2 ^ 40

-- state → the states that may follow; common/states.py has the picture
local NEXT = {
  queued = { claimed = true, failed = true, deleted = true, deleting = true },
  claimed = { building = true, queued = true, stopping = true, failed = true, deleting = true },
  building = { starting = true, queued = true, stopping = true, failed = true, deleting = true },
  starting = { running = true, queued = true, stopping = true, failed = true, deleting = true },
  running = { stopping = true, failed = true, deleting = true },
  stopping = { stopped = true, failed = true, deleting = true },
  stopped = { queued = true, failed = true, deleting = true },
  failed = { deleted = true, deleting = true },
  deleting = { deleted = true },
  deleted = {},
}
local MAKING = { claimed = true, building = true, starting = true }
local CONTAINERLESS = { claimed = true, building = true } -- no container can be there yet
