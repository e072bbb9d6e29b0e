# Cross-checks with foreign tools: every script of this folder whose name has no leading underscore, run with
# $DISH (the program) and $TOOLS (the folder of the small test programs). The long form is LONG=1.
file(GLOB oracles CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/[a-z]*.sh ${CMAKE_CURRENT_LIST_DIR}/[a-z]*.py)
foreach(script ${oracles})
    get_filename_component(name ${script} NAME_WE)
    get_filename_component(extension ${script} LAST_EXT)
    add_test(NAME oracle.${name} COMMAND $<IF:$<STREQUAL:${extension},.py>,python3,bash> ${script})
    set_tests_properties(oracle.${name} PROPERTIES TIMEOUT 600 LABELS oracle
        ENVIRONMENT "DISH=${CMAKE_BINARY_DIR}/dish;TOOLS=${CMAKE_BINARY_DIR}/tests$<$<BOOL:${DISH_SANITIZE}>:;SANITIZED=1>")
endforeach()
