#include <libpq-fe.h>
// PG_DIAG_* are character macros, which Swift imports as Int8; PQresultErrorField wants an int.
static const int larder_diag_sqlstate = PG_DIAG_SQLSTATE;
static const int larder_diag_primary = PG_DIAG_MESSAGE_PRIMARY;
static const int larder_diag_detail = PG_DIAG_MESSAGE_DETAIL;
static const int larder_diag_hint = PG_DIAG_MESSAGE_HINT;
