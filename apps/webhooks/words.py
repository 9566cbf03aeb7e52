"""The vocabulary of alerts: what senders call each field, action, position and unit.

Tables only. To teach PineLab another sender's word, add it here and a body to the tests.
"""

from functools import lru_cache

# Canonical field -> names that mean it, strongest first. Names are folded: lower case, no marks.
_NAMES: dict[str, str] = {
    "ticker": (
        "ticker symbol tvinstrument instrument pair tickerid tradingsymbol tvsymbol tvticker"
        " currencypair coinpair instrumentid security stock epic sym market coin asset"
    ),
    "exchange": "exchange tvexchange exch broker venue",
    "action": (
        "action orderaction strategyorderaction side orderside tradeside tradeaction"
        " transactiontype positionside direction"
    ),
    # May hold an action, and may hold something else entirely.
    "action_hint": (
        "signal order signaltype tradetype command cmd operation op trade event alerttype call"
        " type code positionaction alert"
    ),
    "price": "price entry entryprice executionprice buyprice sellprice pricelevel",
    "order_price": "orderprice strategyorderprice fillprice filledprice fixedprice fp",
    "limit_price": "limitprice limit",
    "signal_price": "signalprice currentprice lastprice marketprice",
    "trigger_price": "triggerprice",
    "close": "close closeprice last candleclose barclose",
    "quantity": (
        "quantity qty contracts ordercontracts strategyordercontracts orderqty orderquantity size"
        " ordersize tradesize amount orderamount lots lot lotsize vollots shares units"
        " amountpertrade positionqty quantityshares"
    ),
    "quantity_quote": (
        "quantityquote sizeusd sizeusdt amountusd amountusdt amountquote quoteamount quoteqty"
        " quoteorderqty qtyusd qtyusdt qtyquote notional usdamount dollaramount voldollar"
        " quotequantity quantityusd quantityusdt sizequote sizeindollars cashamount"
    ),
    "quantity_pct": (
        "quantitypct quantitypercent quantitypercentage qtypct qtypercent sizepct sizepercent"
        " amountpct amountpercent equitypct equitypercent percentofequity balancepercent"
        " orderpercent percent percentage pct volpct"
    ),
    "quantity_unit": (
        "quantitytype qtytype investmenttype currencytype amounttype amountpertradetype sizetype"
        " volumetype qtyunit quantityunit amountunit sizeunit"
    ),
    "volume": "volume",
    "risk": "risk riskpct riskpercent riskpercentage",
    "timeframe": "timeframe interval tf resolution chartinterval barinterval period chartinterval",
    "strategy": "strategy strategyname strategyid sid strategytitle algo system botname",
    "name": "name",
    "market_position": "marketposition strategymarketposition sentiment position",
    "prev_market_position": (
        "prevmarketposition strategyprevmarketposition prevsentiment prevposition"
        " previousmarketposition previousposition"
    ),
    "position_size": "positionsize strategypositionsize netposition targetposition",
    "market_position_size": "marketpositionsize strategymarketpositionsize",
    "prev_position_size": "prevpositionsize previouspositionsize",
    "prev_market_position_size": "prevmarketpositionsize strategyprevmarketpositionsize",
    "stop_loss": "stoploss sl stoplossprice slprice pricesl pricestoploss stop1 slp fsl",
    "stop": "stop",
    "take_profit": (
        "takeprofit tp takeprofitprice tpprice pricetp pricetakeprofit tp1 takeprofit1 target"
        " target1 targetprice takeprofitprice1 takeprofit1price tp1price profittarget ftp"
        " takeprofits targets tps takeprofittargets"
    ),
    "stop_loss_pct": "stoplosspct stoplosspercent stoplosspercentage slpct slpercent slpercentage",
    "take_profit_pct": (
        "takeprofitpct takeprofitpercent takeprofitpercentage tppct tppercent tppercentage"
    ),
    # Distances in units that only the sender's own terminal knows.
    "set_aside": (
        "slpips tppips stoplosspips takeprofitpips slpoints tppoints slticks tpticks trailamount"
        " trailpercent trail trailprice trailoffset trailingstop trailingstoploss slbalance"
        " slamount tpamount stoplossamount takeprofitamount betrigger beoffset traildist"
    ),
    "order_type": "ordertype pricetype entrytype ordtype",
    "stop_price": "stopprice",
    "order_id": "orderid strategyorderid ordername tradeid entryid",
    "id": "id",
    "comment": "comment ordercomment strategyordercomment note remark tag",
    "message": "message text content msg alertmessage description body payload",
    "bar_time": "bartime barts candletime bartimestamp baropentime",
    "time": "time",
    "fired_at": "firedat timenow firetime timestamp alerttime sentat triggertime alertat datetime",
    "max_lag": "maxlag maxlags maxlagseconds maxage maxages",
    "alert_id": (
        "alertid signalid idempotencykey idempotencyid requestid eventid messageid nonce"
        " clientorderid uniqueid signaluuid alertuuid"
    ),
    "secret": (
        "secret passphrase password apikey key token signaltoken emailtoken webhooksecret auth"
        " authtoken accesstoken licence license licenceid licenseid pass passwd pin secretkey"
        " apisecret webhooktoken authkey authorization"
    ),
    "close_flag": "closeposition closepositions",
    "reduce_only": "reduceonly reduce",
    "signals": "signals orders alerts trades actions commands batch",
}

# Folded name -> (field, rank): rank 0 is the clearest name for the field.
FIELDS: dict[str, tuple[str, int]] = {
    alias: (field, rank)
    for field, names in _NAMES.items()
    for rank, alias in enumerate(names.split())
}

# Some objects change the meaning of the words inside them.
CONTEXTS: dict[str, str] = {
    **dict.fromkeys(("bar", "ohlc", "ohlcv", "candle", "kline", "quote", "prices"), "bar"),
    **dict.fromkeys(("order", "orders", "trade", "orderinfo", "entry"), "order"),
    **dict.fromkeys(("strategy", "strategyinfo", "strat", "bot", "algo"), "strategy"),
    **dict.fromkeys(("stoploss", "sl", "stop"), "stop_loss"),
    **dict.fromkeys(("takeprofit", "tp", "target", "takeprofits", "targets", "tps"), "take_profit"),
    **dict.fromkeys(("position", "marketposition", "strategyposition"), "position"),
    **dict.fromkeys(("prevposition", "previousposition"), "prev_position"),
    **dict.fromkeys(("ticker", "symbol", "instrument", "market", "asset", "pair"), "instrument"),
    **dict.fromkeys(("quantity", "qty", "size", "amount"), "quantity"),
    **dict.fromkeys(
        (
            "technicals", "indicators", "indicator", "plots", "plot", "extras", "extra", "meta",
            "metadata", "debug", "context", "inputs", "params", "settings", "account", "user",
            "history", "previous", "prev", "last", "embeds", "headers", "ratios", "levels",
        ),
        "ignored",
    ),
}  # fmt: skip

IN_CONTEXT: dict[str, dict[str, str]] = {
    "bar": {"close": "close", "c": "close", "time": "bar_time", "t": "bar_time"},
    "order": {
        "id": "order_id", "type": "order_type", "price": "order_price", "side": "action",
        "action": "action", "name": "order_id", "comment": "comment",
    },
    "strategy": {"name": "strategy", "id": "strategy", "title": "strategy"},
    "stop_loss": {
        "percent": "stop_loss_pct", "pct": "stop_loss_pct", "percentage": "stop_loss_pct",
        "stopprice": "stop_loss", "price": "stop_loss", "value": "stop_loss",
        "triggerprice": "stop_loss", "level": "stop_loss", "amount": "set_aside",
        "trailamount": "set_aside", "trailpercent": "set_aside", "trailprice": "set_aside",
        "pips": "set_aside", "points": "set_aside", "ticks": "set_aside",
    },
    "take_profit": {
        "percent": "take_profit_pct", "pct": "take_profit_pct", "percentage": "take_profit_pct",
        "limitprice": "take_profit", "price": "take_profit", "value": "take_profit",
        "triggerprice": "take_profit", "level": "take_profit", "amount": "set_aside",
        "pips": "set_aside", "points": "set_aside", "ticks": "set_aside",
    },
    "position": {
        "size": "position_size", "quantity": "position_size", "qty": "position_size",
        "side": "market_position", "direction": "market_position", "type": "market_position",
        "current": "market_position", "market": "market_position",
        "previous": "prev_market_position", "prev": "prev_market_position",
    },
    "prev_position": {
        "size": "prev_position_size", "side": "prev_market_position",
    },
    "instrument": {
        "ticker": "ticker", "symbol": "ticker", "name": "ticker", "id": "ticker",
        "exchange": "exchange",
    },
    "quantity": {
        "value": "quantity", "amount": "quantity", "type": "quantity_unit",
        "unit": "quantity_unit", "quantity": "quantity", "qty": "quantity", "size": "quantity",
        "percent": "quantity_pct",
    },
    "ignored": {},
}  # fmt: skip
# Inside these, words that the table above does not know keep their general meaning.
OPEN_CONTEXTS = frozenset({"", "order", "strategy"})

# Autoview writes one letter per field, and only when both e= or s= and b= or c= are there.
AUTOVIEW: dict[str, str] = {
    "e": "exchange", "s": "symbol", "b": "side", "q": "quantity", "fp": "fixedprice",
    "t": "ordertype", "fsl": "stoploss", "ftp": "takeprofit", "l": "leverage", "a": "account",
}  # fmt: skip
SHORT_NAMES: dict[str, str] = {"q": "quantity"}

_ACTIONS: dict[str, str] = {
    "buy": (
        "buy long bull bullish enterlong entrylong openlong golong longentry longenter longopen"
        " buylong buytoopen bto buymarket buylimit buystop buystoplimit buysignal longsignal"
        " strongbuy buynow marketbuy limitbuy stopbuy buyentry enterbuy openbuy"
    ),
    "sell": (
        "sell short bear bearish entershort entryshort openshort goshort shortentry shortenter"
        " shortopen sellshort selltoopen sto sellmarket selllimit sellstop sellstoplimit"
        " sellsignal shortsignal strongsell sellnow marketsell limitsell stopsell sellentry"
        " entersell opensell"
    ),
    "close": (
        "close exit flat flatten exitall closeall closeposition closepositions exitposition"
        " closetrade exittrade closeatmarketprice closeatmarketpriceall closeallpositions"
        " liquidate closelongshort closeshortlong exitmarket closemarket closesignal exitsignal"
        " panicsell closealldeals exitallpositions"
    ),
    "close_long": (
        "closelong exitlong longexit longclose selltoclose stc closebuy exitbuy closealllong"
        " closealllongs closelongs closelongall exitlongs flattenlong closelongposition"
        " closelongpct closelongvol sellcloselong"
    ),
    "close_short": (
        "closeshort exitshort shortexit shortclose buytoclose buytocover cover closesell exitsell"
        " closeallshort closeallshorts closeshorts closeshortall exitshorts flattenshort"
        " closeshortposition coverhort shortcover covershort closeshortpct closeshortvol"
        " buycloseshort"
    ),
    "cancel": (
        "cancel cancelall cancelorders cancelorder cancelallorders cancelalldeals cancellong"
        " cancelshort cancelopenorders"
    ),
    "add": "add addlong addshort addfunds addfundsinquote addfundsinbase scalein addtoposition",
}
ACTIONS: dict[str, str] = {
    word: action for action, words in _ACTIONS.items() for word in words.split()
}
# Words that name the side of a position rather than of an order.
SIDE_WORDS: dict[str, str] = {"long": "long", "short": "short", "bull": "long", "bear": "short"}
# "Open" says that there is an order and leaves its side to another field.
OPENING_WORDS = frozenset({"open", "enter", "entry", "openposition", "startdeal", "order", "trade"})
# One word, two orders: close one side and open the other.
REVERSALS: dict[str, tuple[str, str]] = {
    "closelongsell": ("close_long", "sell"), "closeshortbuy": ("close_short", "buy"),
    "closelongopenshort": ("close_long", "sell"), "closeshortopenlong": ("close_short", "buy"),
    "closelongentershort": ("close_long", "sell"), "closeshortenterlong": ("close_short", "buy"),
}  # fmt: skip

ORDER_TYPES: dict[str, str] = {
    "market": "market", "mkt": "market", "limit": "limit", "lmt": "limit", "stop": "stop",
    "stopmarket": "stop", "slm": "stop", "stoplimit": "stop_limit", "sl": "stop_limit",
    "trailingstop": "trailing_stop", "trailing": "trailing_stop", "marketorder": "market",
    "limitorder": "limit", "stoporder": "stop",
}  # fmt: skip
# The order type that an action word carries: "buylimit" is a limit order.
ACTION_ORDER_TYPES: dict[str, str] = {
    f"{side}{kind}": order_type
    for side in ("buy", "sell")
    for kind, order_type in (
        ("limit", "limit"),
        ("stop", "stop"),
        ("stoplimit", "stop_limit"),
        ("market", "market"),
    )
}

POSITIONS: dict[str, str] = {
    "long": "long", "bullish": "long", "bull": "long", "buy": "long", "short": "short",
    "bearish": "short", "bear": "short", "sell": "short", "flat": "flat", "neutral": "flat",
    "none": "flat",
}  # fmt: skip

# How a quantity is counted, by the sender's name of the unit.
UNITS: dict[str, str] = {
    "fixedquantity": "base", "fixed": "base", "base": "base", "contract": "base",
    "contracts": "base", "shares": "base", "share": "base", "lots": "base", "lot": "base",
    "units": "base", "unit": "base", "quantity": "base", "coins": "base", "coin": "base",
    "shs": "base", "pcs": "base", "qty": "base", "cash": "quote",
    "dollaramount": "quote", "quote": "quote", "margin": "quote", "usd": "quote", "usdt": "quote",
    "usdc": "quote", "busd": "quote", "dollars": "quote", "dollar": "quote", "notional": "quote",
    "percentofequity": "pct", "percentofposition": "pct", "percentageofbalance": "pct",
    "percentagebalance": "pct", "percentageinvestment": "pct", "percentageposition": "pct",
    "percents": "pct", "percent": "pct", "percentage": "pct", "pct": "pct", "marginpercent": "pct",
    "positionpercent": "pct", "equitypercent": "pct", "riskpercent": "risk",
}  # fmt: skip

# What arithmetic left without a value: no price, and a broken quantity.
NO_NUMBERS = frozenset({"nan", "inf", "-inf", "+inf", "infinity", "-infinity"})
ABSENT = NO_NUMBERS | frozenset(
    {"", "na", "n/a", "null", "none", "nil", "undefined", "-", "--", "market", "mkt"}
)
TRUE_WORDS = frozenset({"true", "yes", "1", "on"})

_MARKS = str.maketrans("", "", " _-.\t/()[]{}*#!?:,;\"'`~|>•")


@lru_cache(maxsize=4096)
def fold(word: str) -> str:
    """Return the word in lower case without spaces and marks: ``Entry-Price`` is ``entryprice``."""
    folded = word.lower().translate(_MARKS)
    if folded.isascii():
        return folded
    # Emoji and other signs go; letters stay, so that a look-alike letter stays unknown.
    return "".join(letter for letter in folded if letter.isascii() or letter.isalpha())
