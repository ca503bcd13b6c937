// libcurl's setters take whatever follows; Swift calls no such functions.
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

typedef size_t (*larder_curl_callback)(char *, size_t, size_t, void *);

static inline CURLcode larder_curl_set_long(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode larder_curl_set_size(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode larder_curl_set_text(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode larder_curl_set_pointer(CURL *handle, CURLoption option, void *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode larder_curl_set_callback(
    CURL *handle, CURLoption option, larder_curl_callback value) {
    return curl_easy_setopt(handle, option, value);
}
static inline long larder_curl_status(CURL *handle) {
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
}
