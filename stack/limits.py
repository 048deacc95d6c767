"""Every cap on what a peer can make us hold or do, each with its reason."""

from typing import Final

# Received packet-number ranges remembered per space. A peer that leaves a hole after every packet grows ACK frames and
# lookups without bound; the lowest ranges go first (RFC 9000 section 13.2.3).
MAX_RECEIVED_RANGES: Final = 64

# Send times of acknowledged packets remembered while several packet number spaces are in use, to see persistent
# congestion across them; a peer that never confirms the handshake would make the list grow without bound.
MAX_ACKNOWLEDGED_TIMES: Final = 256

# Ranges put into one ACK frame: 32 ranges of loss history survive 32 lost ACKs, and the frame stays below 150 bytes.
MAX_ACK_RANGES_SENT: Final = 32

# Bytes that CRYPTO frames may lie ahead of what TLS has read, per level. RFC 9000 section 7.5 asks for at least 4096; a
# certificate chain of 9 and a post-quantum ClientHello fit many times.
MAX_CRYPTO_BUFFER: Final = 65_536

# Bytes that each disjoint piece of data which waits for a gap to fill must stand for: tiny fragments cost far more than
# their bytes (RFC 9000 section 21.7). A window may be in as many pieces as it has of these, a stream's and that of the
# connection alike; 1,200-byte packets with every second one lost make half as many.
BYTES_PER_PIECE: Final = 1_024

# Pieces that may wait in any case, however small the window: frames of many streams share packets.
MAX_PIECES: Final = 1_024

# Data of fewer bytes than this that comes in order is joined with what waits for the application before it, up to
# BYTES_PER_PIECE: as an object of its own it would take some 40 bytes more than flow control counts.
SMALL_DATA: Final = 64

# Pieces of CRYPTO data that may wait, per level; a ClientHello cut up on purpose has dozens.
MAX_CRYPTO_PIECES: Final = 256

# Packets that arrived before their keys, per connection: one flight of a server with a long chain.
MAX_UNDECRYPTABLE_PACKETS: Final = 16

# Bytes of the datagrams that these packets came in, per connection: datagrams may be as large as UDP allows.
MAX_UNDECRYPTABLE_BYTES: Final = 65_536

# Datagrams of an endpoint that begin with a 0-RTT packet and wait for the Initial packet that they have overtaken, and
# together have MAX_UNDECRYPTABLE_BYTES at most; the oldest go first. For packets that change places on their way.
MAX_EARLY_ARRIVALS: Final = 32

# PATH_CHALLENGE frames of one path to answer that have not been answered yet; more are dropped (CVE-2023-49295's
# class).
MAX_PATH_RESPONSES: Final = 8

# Paths of one connection, the active one included: an address that a packet claims to come from costs a Path, a
# connection ID and a validation. The one that is unused for longest goes first (RFC 9000 section 9.3).
MAX_PATHS: Final = 4

# RETIRE_CONNECTION_ID frames that may await their ACK, for each connection ID that we store for the peer; a peer that
# makes us owe more closes the connection with CONNECTION_ID_LIMIT_ERROR (CVE-2024-22189's class). RFC 9000 section
# 5.1.2 asks for two, and a peer may replace all its IDs again before the ACKs of the first change are back.
RETIREMENTS_PER_CONNECTION_ID: Final = 4

# Draws for a connection ID that is not in use, before we do without one: with short IDs a peer could make us search for
# ever.
MAX_CONNECTION_ID_DRAWS: Final = 64

# Connection IDs that we issue at most, however many the peer would store.
MAX_ISSUED_CONNECTION_IDS: Final = 4

# Connections of one endpoint whose handshake is not complete: memory a spoofing attacker can take. Further clients are
# refused (RFC 9000 section 5.2.2).
MAX_HALF_OPEN_CONNECTIONS: Final = 10_000

# Half-open connections from which on a client without a token is answered with Retry, unless Config says otherwise: one
# that spoofs its address then gets no memory any more (RFC 9000 section 8.1.2).
HALF_OPEN_BEFORE_RETRY: Final = 256

# How long a handshake may take at a server, in ns, and in round trips of Config.initial_rtt_ms if that is longer: a
# client that sends a PING now and then is never idle, and would keep its half-open connection for ever.
MAX_HANDSHAKE_NS: Final = 60 * 1_000_000_000
MAX_HANDSHAKE_RTTS: Final = 20

# Wake-ups that an endpoint keeps for each connection on average, those overtaken by earlier ones included. A peer makes
# deadlines come and go as it likes; what was overtaken is cleared away when there is more of it.
ALARMS_PER_CONNECTION: Final = 8

# How long a Retry's token is valid, in ns: it returns within a round trip, but perhaps only the fifth time that it is
# sent (RFC 9000 section 8.1.4).
RETRY_TOKEN_LIFETIME_NS: Final = 30 * 1_000_000_000

# How long a token of a NEW_TOKEN frame is valid, in ns: a day.
NEW_TOKEN_LIFETIME_NS: Final = 86_400 * 1_000_000_000

# Tokens remembered because they were used and have not expired; while there are so many, no further one is accepted.
MAX_SPENT_TOKENS: Final = 65_536

# Bytes of a token that a client takes, from Retry or NEW_TOKEN: every Initial packet repeats it, and of 1,200 bytes
# some must be left for the handshake.
MAX_TOKEN_LENGTH: Final = 1_000

# NEW_TOKEN tokens that a connection hands to its application; a server that sends more is ignored.
MAX_NEW_TOKENS: Final = 8

# Stateless resets that an endpoint sends per second: enough for peers that are really lost, too few for a flood or for
# two endpoints that reset each other (RFC 9000 section 10.3.3).
MAX_STATELESS_RESETS_PER_SECOND: Final = 100

# Packet numbers remembered because they were skipped: 32 skips reach back over a million packets once they are
# rare, and at the start over more than a window (RFC 9000 section 21.4).
MAX_SKIPPED_NUMBERS: Final = 32

# ACK-only packets in a row before a PING asks for an ACK of them, so that neither side's history grows without bound
# (RFC 9000 section 13.2.4).
MAX_NON_ELICITING_PACKETS: Final = 64

# ACK-only packets after which those before them are forgotten although nobody acknowledged them, per space: a peer that
# sends and never acknowledges would make us remember one for every two packets of its own. Packets in flight are
# bounded by congestion control.
MAX_ACK_ONLY_PACKETS: Final = 1_024

# Packets declared lost that are remembered for a while in case that they arrive after all, per space.
MAX_REMEMBERED_LOSSES: Final = 1_024

# Bytes of a close reason that are sent; it must fit beside everything else in a packet.
MAX_REASON_LENGTH: Final = 256

# Datagrams of the application (RFC 9221) that wait to be sent: `Config.datagram_send_buffer` bounds their bytes, this
# what each takes beside them.
MAX_QUEUED_DATAGRAMS: Final = 1_024

# Datagrams that arrived and that the application has not taken; then the oldest are dropped (RFC 9221 section 5.3).
MAX_UNREAD_DATAGRAMS: Final = 1_024

# Datagrams that one call of transmit() may produce for one connection, so that one connection can't starve the rest.
MAX_DATAGRAMS_PER_TRANSMIT: Final = 64

# Pre-shared keys of a ClientHello that a server looks at: each one that could be a ticket costs a decryption.
MAX_PSK_IDENTITIES: Final = 8

# How much a client's idea of a ticket's age may differ from the server's for 0-RTT, in ns (RFC 8446 section 8.3): its
# clock's drift, and the time that its ClientHello takes.
EARLY_DATA_AGE_TOLERANCE_NS: Final = 10 * 1_000_000_000

# Tickets remembered because they were used for 0-RTT; while there are so many, no further 0-RTT is accepted.
MAX_STRIKES: Final = 65_536

# Tickets that a server remembers because they allow 0-RTT, where a ticket does not say itself what it was issued for;
# the oldest go first, and then serve to resume only.
MAX_EARLY_TICKETS: Final = 4_096

# Session tickets that a client takes from one connection; a server that sends more is ignored.
MAX_SESSION_TICKETS: Final = 8

# Bytes of certificates that a ticket carries: a client with a longer chain gets no ticket.
MAX_TICKET_CERTIFICATES: Final = 16_384
