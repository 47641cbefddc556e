"""In what castd wants to differ from Icecast 2.4.4, and why. What is listed here and differs no more fails, too."""

from __future__ import annotations

EVERYWHERE = {
    "+ x-content-type-options": "browsers are not to guess what an answer is",
    "+ content-length": "an answer that says how long it is can be told from one that was cut off",
    "+ access-control-allow-origin": "pages of other sites may read what everybody may read; Icecast needs a setting",
    "- expires": "says what Cache-Control says already, to caches of the last century",
    "- pragma": "likewise",
    "connection: Close -> keep-alive": "panels ask often; each new connection costs more than its question",
}
"""In any answer."""

PLAYERS = {
    "+ access-control-allow-headers": "a page of another site that asks for ICY titles is asked first (quirk 41)",
    "+ access-control-allow-methods": "likewise",
    "+ access-control-expose-headers": "likewise, to read the name of the station",
    "+ access-control-max-age": "likewise, once a day",
}

CHALLENGE = {
    'www-authenticate: Basic realm="Icecast2 Server" -> Basic realm="Icecast2 Server", charset="UTF-8"': (
        "tells browsers how to write passwords that are not ASCII (RFC 7617)"
    ),
    "content-type: text/plain; charset=utf-8 -> text/html; charset=utf-8": "all refusals have one form",
}

NOBODY = CHALLENGE | {"says '' -> '401 - You need to authenticate'": "likewise; Icecast says it as plain text"}

GUESS = CHALLENGE | {"says '' -> '401 - wrong user or password'": "says what is wrong"}

EMPTY = "an element without content says nothing"

WANTED: dict[str, dict[str, str]] = {
    "json": {"+ .icestats.dummy: NoneType": "Icecast writes it, too, but not in every build; clients skip it"},
    "json-one": {"+ .icestats.dummy: NoneType": "likewise"},
    "json-title": {"+ .icestats.dummy: NoneType": "likewise"},
    **dict.fromkeys(("get-11", "get-10", "get-icy", "get-query", "get-range"), PLAYERS),
    "get-icy-ogg": PLAYERS
    | {"icy-br: 128 -> 64": "what the stream's headers say, not the encoder's, who is wrong here"},
    "head": PLAYERS
    | {
        "status 400 -> 200": "players and monitors ask by HEAD (quirk 36)",
        "says '400 - unknown request' -> ''": "likewise",
        "content-type: text/html; charset=utf-8 -> audio/mpeg": "likewise",
        **{
            f"+ {name}": "likewise"
            for name in (
                "ice-audio-info",
                "icy-br",
                "icy-description",
                "icy-genre",
                "icy-name",
                "icy-pub",
                "icy-url",
            )
        },
    },
    "post": {
        "status 400 -> 405": "the path is right, the method is not (RFC 9110 §15.5.6)",
        "+ allow": "likewise",
        "says '400 - unknown request' -> '405 - POST is not for this path'": "likewise",
    },
    "xspf": {
        "- {http://xspf.org/ns/0/}playlist[@version]/{http://xspf.org/ns/0/}creator": EMPTY,
        "- {http://xspf.org/ns/0/}playlist[@version]/{http://xspf.org/ns/0/}title": EMPTY,
    },
    "m3u-none": {
        "status 200 -> 404": "a playlist of nothing sends players into a loop",
        "content-type: audio/x-mpegurl -> text/html; charset=utf-8": "likewise",
        "says '' -> '404 - The file you requested could not be found'": "likewise",
    },
    "traversal": {
        "status 0 -> 400": "Icecast closes the connection without a word",
        "says '' -> '400 - a path with empty or dot segments'": "likewise",
        **{f"+ {name}": "likewise" for name in ("connection", "content-type", "date", "server", "cache-control")},
    },
    "D20-stats-none": NOBODY,
    "D20-stats-badpw": GUESS,
    "D20-stats-source": GUESS,
    "D21-streamlist-none": NOBODY,
    "D07-streamlist-admin": {
        "status 401 -> 200": "the admin may see what a slave may see",
        "- www-authenticate": "likewise",
    },
    "admin-nope-none": {
        "status 400 -> 401": "who has not signed in is not told which commands there are",
        "+ www-authenticate": "likewise",
        "says '400 - Unrecognised command' -> '401 - You need to authenticate'": "likewise",
    },
    "D25-listclients-source": {
        "status 200 -> 401": "an encoder's password does not show listeners' addresses",
        "+ www-authenticate": "likewise",
        "content-type: text/xml; charset=utf-8 -> text/html; charset=utf-8": "likewise",
        "says '' -> '401 - wrong user or password'": "likewise",
        "- icestats": "likewise",
        "- icestats/source[@mount]": "likewise",
        "- icestats/source[@mount]/Listeners": "likewise",
    },
    "D32-metadata-none": NOBODY,
    "D39-metadata-post": {
        "status 400 -> 200": "what changes something may be sent by POST",
        "content-type: text/html; charset=utf-8 -> text/xml; charset=utf-8": "likewise",
        "says '400 - unknown request' -> 'Metadata update successful 1'": "likewise",
        "+ iceresponse": "likewise",
        "+ iceresponse/message": "likewise",
        "+ iceresponse/return": "likewise",
    },
    "D40-metadata-noslash": {
        "status 400 -> 200": "a missing slash is forgiven (quirk 9)",
        "content-type: text/html; charset=utf-8 -> text/xml; charset=utf-8": "likewise",
        "says '400 - Source does not exist' -> 'Metadata update successful 1'": "likewise",
        "+ iceresponse": "likewise",
        "+ iceresponse/message": "likewise",
        "+ iceresponse/return": "likewise",
    },
    "D43-fallbacks": {
        "content-type: text/html; charset=utf-8 -> text/xml; charset=utf-8": "raw commands answer in XML (quirk 82)",
        "says '' -> 'Fallback configured 1'": "likewise",
        "+ iceresponse": "likewise",
        "+ iceresponse/message": "likewise",
        "+ iceresponse/return": "likewise",
    },
    "D50-moveclients-format": {
        "says 'Clients moved from /live.mp3 to /live.ogg 1' -> 'Clients not moved: /live.mp3 is mpeg mp3 44100 Hz, "
        "/live.ogg is ogg vorbis 44100 Hz 0'": "nobody was moved, in Icecast neither (D50)"
    },
    "D58-buildm3u": {"+ content-disposition": "Icecast's is no header line: it has = for : (quirk 82)"},
    "D60-manageauth-none": {
        "says '400 - missing parameter' -> '400 - no users_file for this mount'": "says what is missing"
    },
    "put-none": NOBODY,
    "put-badpw": GUESS,
    "source-badpw": GUESS,
    "source-busy": {
        "content-type: text/plain; charset=utf-8 -> text/html; charset=utf-8": "all refusals have one form",
        "says '' -> '403 - Mountpoint in use'": "likewise; Icecast says it as plain text",
    },
    "options": PLAYERS
    | {
        "status 0 -> 204": "browsers and libshout ask (quirk 41); Icecast closes the connection",
        **{f"+ {name}": "likewise" for name in ("allow", "connection", "date", "server")},
    },
    "unknown-method": {
        "status 0 -> 405": "Icecast closes the connection without a word",
        "says '' -> '405 - BREW is not for this path'": "likewise",
        **{
            f"+ {name}": "likewise"
            for name in ("allow", "connection", "content-type", "date", "server", "cache-control")
        },
    },
}
